"""`nightcal secure`: the devices made safe after a run that died, in words."""

from services.cli.failures import complain
from services.cli.parameters import ConfigFile, loaded_config
from services.errors import Exit, RunCode


def secure(config: ConfigFile = None) -> int:
    """Abort the exposure, switch the lamp off, close the cover, and leave the cooler as a killed run had found it.

    Only devices of the configuration are touched, and none while a run of ours uses the camera.
    Exit codes: 0 all is well, 3 something is not, or a run is at work.
    """
    from services import log
    from services.capture.secure import secure as make_safe

    loaded = loaded_config(config)
    log.configure("ERROR")  # to no file: a disk that hangs keeps no lamp on
    secured = make_safe(loaded)
    for word in secured.done:
        print(word)
    if secured.refused:
        complain(RunCode.CAMERA_BUSY, f"{secured.refused}: nothing was touched")
    if secured.left:
        complain(RunCode.LEFT_UNSAFE, "\n".join(secured.left))
    return Exit.DONE if secured.well else Exit.DEVICE
