"""Older and shorter spellings of the YAML, turned into the one that the models know.

`video` → `camera`, `output_directory` → `output_dir`, `cooling` inside the camera section or as one word, `models` as
one word, `reuse` as one number. Sections of the guide's program that have no use here are set aside and named. Values
keep their places, so that messages speak of what stands in the file.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from services.config.devices import Camera
from services.config.models import IGNORED_SECTIONS, Config, Reuse
from services.config.positions import Node, Problem

_SECTIONS = frozenset(Config.model_fields)
_FOLDERS = ("dark_capture", "flat_capture", "master_frames")
_CAMERAS = ("alpaca", "ascom", "simulator")
_LISTS = ("windows", "blackout", "webhooks", "allowed_hosts")
COOLING_WORDS = ("required", "if_available", "off")
MODELS_WORDS = ("auto", "off")


def _kinds_filled(programme: Node) -> Node:
    """Return a programme in which `bias:` with nothing behind it wants biases, with all defaults."""
    if not isinstance(programme.value, dict):
        return programme
    kinds = ("bias", "darks", "flats")
    filled = {k: replace(n, value={}, blank=False) if k in kinds and n.blank else n for k, n in programme.value.items()}
    return replace(programme, value=filled)


class Translation:
    """The joined tree of one document, with what was noted on the way.

    Attributes
    ----------
    tree : Node
        In the models' spelling.
    notes : list of str
    problems : list of Problem
    """

    def __init__(self, tree: Node) -> None:
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self._top = dict(tree.children())
        self._ignore_sections()
        self._name_camera()
        self._empty_lists()
        self._fill_blank_sections()
        self._name_folders()
        self._join_cooling()
        self._spread_models()
        self._spread_reuse()
        self._choose_camera()
        self.tree = replace(tree, value=self._top)

    def _ignore_sections(self) -> None:
        for name in IGNORED_SECTIONS:
            section = self._top.get(name)
            if section is None or (name == "telescope" and "device_id" in section.children()):
                continue
            del self._top[name]
            self.notes.append(f"{name}: accepted, not used")

    def _name_camera(self) -> None:
        video = self._top.pop("video", None)
        if video is None:
            return
        if "camera" in self._top:
            self._refuse(video, f"stands beside `camera` ({self._top['camera'].key_where}) — keep one of them")
            return
        self._top["camera"] = video
        self.notes.append("video: read as `camera`")

    def _empty_lists(self) -> None:
        """Take a list of sections with every line of it commented out for an empty one."""

        def emptied(node: Node) -> Node:
            return replace(node, value=[], blank=False) if node.blank else node

        if "programmes" in self._top:
            self._top["programmes"] = emptied(self._top["programmes"])
        self._edit("serve", _LISTS, emptied)

    def _fill_blank_sections(self) -> None:
        """Take `name:` with every key commented out for a section of defaults; `null` still says that there is none."""
        self._top = {name: self._filled(node) if name in _SECTIONS else node for name, node in self._top.items()}
        programmes = self._top.get("programmes")
        if programmes is not None and isinstance(programmes.value, list):
            self._top["programmes"] = replace(programmes, value=[_kinds_filled(each) for each in programmes.value])
        self._edit("camera", (*_CAMERAS, "cooling"), self._filled)

    def _name_folders(self) -> None:
        for name in _FOLDERS:
            section = self._top.get(name)
            if section is None or "output_directory" not in section.children():
                continue
            children = dict(section.children())
            old = children.pop("output_directory")
            if "output_dir" in children:
                self._refuse(old, f"stands beside `output_dir` ({children['output_dir'].key_where}) — keep one of them")
            else:
                children["output_dir"] = old
                self.notes.append(f"{old.spelled}: read as `output_dir`")
            self._top[name] = replace(section, value=children)

    def _join_cooling(self) -> None:
        camera = self._top.get("camera")
        inner = camera.children().get("cooling") if camera is not None else None
        if camera is not None and inner is not None and inner.value is not None:
            self._top["camera"] = replace(camera, value={k: v for k, v in camera.children().items() if k != "cooling"})
            outer = self._top.get("cooling")
            if outer is not None and outer.value is not None:
                self._refuse(inner, f"stands beside `cooling` ({outer.key_where}) — keep one of them")
            else:
                self._top["cooling"] = inner
        cooling = self._top.get("cooling")
        if cooling is not None and cooling.value in COOLING_WORDS:
            self._top["cooling"] = replace(cooling, value={"mode": cooling})

    def _spread_models(self) -> None:
        models = self._top.get("models")
        if models is not None and isinstance(models.value, str) and models.value in MODELS_WORDS:
            self._top["models"] = replace(models, value={"fit": models})

    def _spread_reuse(self) -> None:
        reuse = self._top.get("reuse")
        if reuse is not None and isinstance(reuse.value, int | float) and not isinstance(reuse.value, bool):
            hours = [key for key in Reuse.model_fields if key.endswith("_hours")]
            self._top["reuse"] = replace(reuse, value=dict.fromkeys(hours, reuse))
        elif reuse is not None and "serve" in reuse.children():
            self.notes.append("reuse.serve: accepted, not used")
            self._top["reuse"] = replace(reuse, value={k: v for k, v in reuse.children().items() if k != "serve"})

    def _choose_camera(self) -> None:
        camera = self._top.get("camera")
        if camera is None or not isinstance(camera.value, dict):
            return
        kind = camera.value.get("camera_type")
        if kind is not None and kind.value == "opencv":
            text = "'opencv' is a webcam, which has no calibrated exposures — allowed: alpaca, ascom, simulator"
            self.problems.append(Problem(kind.where, kind.spelled, text))
            self._top["camera"] = replace(camera, value={k: v for k, v in camera.value.items() if k != "camera_type"})
        named = [name for name in _CAMERAS if name in camera.value]
        if kind is None and len(named) == 1:
            only = camera.value[named[0]]
            completed = replace(only, value=named[0], spelled=f"{camera.spelled}.camera_type")
            self._top["camera"] = replace(camera, value={**camera.value, "camera_type": completed})
            if named[0] != Camera.model_fields["camera_type"].default:
                self.notes.append(f"{completed.spelled}: taken as {named[0]}, the one section there is")

    def _edit(self, section: str, keys: Iterable[str], change: Callable[[Node], Node]) -> None:
        node = self._top.get(section)
        if node is not None and isinstance(node.value, dict):
            changed = {key: change(child) if key in keys else child for key, child in node.value.items()}
            self._top[section] = replace(node, value=changed)

    @staticmethod
    def _filled(node: Node) -> Node:
        return replace(node, value={}, blank=False) if node.blank else node

    def _refuse(self, node: Node, text: str) -> None:
        self.problems.append(Problem(node.key_where, node.spelled, text))
