"""Where frames are rendered: the sensor, made in the background, and the threads that fill its frames."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.maps import build_maps
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.sensor import Conditions, Sensor


class Darkroom:
    """Renders one frame at a time on two threads; the sensor's maps are begun at once, needed at the first frame.

    Parameters
    ----------
    params : ObservatoryParameters
    """

    def __init__(self, params: ObservatoryParameters) -> None:
        self._params = params
        # two threads are enough for 61 megapixels in less than a second
        self._blocks = ThreadPoolExecutor(2, thread_name_prefix="simulator-block")
        self._frames = ThreadPoolExecutor(1, thread_name_prefix="simulator-frame")
        self._sensor: Future[Sensor] = self._frames.submit(self._build)

    @property
    def sensor(self) -> Sensor:
        """The sensor; waits for its maps."""
        return self._sensor.result()

    def submit(self, conditions: Conditions) -> "Future[NDArray[np.uint16]]":
        """Render a frame in the background."""
        return self._frames.submit(self._render, conditions)

    def close(self) -> None:
        """End the threads; frames not begun are given up."""
        for pool in (self._frames, self._blocks):
            pool.shutdown(wait=True, cancel_futures=True)

    def _build(self) -> Sensor:
        camera, seed = self._params.camera, self._params.seed
        maps = build_maps(camera.detector, height=camera.height, width=camera.width, seed=seed, pool=self._blocks)
        return Sensor(camera, maps, seed)

    def _render(self, conditions: Conditions) -> NDArray[Any]:
        return self.sensor.render(conditions, self._blocks)
