"""`dreamkit view`: a run in the browser, seen by each visitor from where they like, new when its files are (viser)."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamkit.view.content import Content, check_viewable, read_content, stamp
from dreamkit.view.eye import browser_camera, picture, raster

SIZES = (96, 384)
"Longer sides in pixels of the pictures of a scene: one at once, and one when the camera rests."
REST = 0.3
"Seconds after which a camera rests."


class PortTaken(ValueError):
    """Another server listens there."""


@dataclass
class _Glance:
    """One camera's look at one version of the scene."""

    mark: object
    since: float
    size: int = 0
    "Of the largest picture of it so far."


class Viewer:
    """One server for one run. `look` does what is to be done now, `serve` does so for ever."""

    def __init__(self, path: Path, port: int = 8080, host: str = "127.0.0.1") -> None:
        """Start the server. Raises ValueError where there is nothing to show or viser is missing, and PortTaken."""
        check_viewable(path)
        self.path = path
        self.server = _start(host, port)
        self.port: int = self.server.get_port()
        self.content: Content | None = None
        self._stamp: object = None
        self._glances: dict[int, _Glance] = {}
        "What each visitor was shown last."
        self._lock = threading.RLock()
        "viser calls `_show` from threads of its own."
        self._version = 0
        self._build()

    def serve(self, every: float = 2.0) -> Iterator[Content]:
        """Look for new files every so many seconds, and draw what visitors ask for; yields what is new, never ends."""
        checked = -every
        while True:
            now = time.monotonic()
            if now - checked >= every:
                checked = now
                if self.refresh() and self.content is not None:
                    yield self.content
            self.draw()
            time.sleep(0.05)

    def refresh(self) -> bool:
        """Read the files again where they have changed; whether there is something new. A damaged file is told."""
        found = stamp(self.path)
        if found == self._stamp:
            return False
        self._stamp = found
        try:
            self.content = read_content(self.path)
        except (ValueError, OSError) as error:
            # What was shown stays; the next checkpoint may be whole.
            self.status.content = f"cannot be read: {error}"
            return False
        self._version += 1
        self._show()
        return True

    def draw(self) -> None:
        """Render the scene for every visitor whose camera or content is new, coarsely first."""
        clients = self.server.get_clients()
        with self._lock:
            self._glances = {name: glance for name, glance in self._glances.items() if name in clients}
        for name, client in clients.items():
            self._draw(name, client)

    def close(self) -> None:
        """Stop the server."""
        self.server.stop()

    def _build(self) -> None:
        scene = self.server.scene
        scene.set_up_direction("+y")
        self.server.initial_camera.position = (1.2, 0.8, 2.2)
        self.server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self.server.initial_camera.fov = math.radians(40)
        self.title = self.server.gui.add_markdown("")
        self.status = self.server.gui.add_markdown("reading ...")
        self.choice = self.server.gui.add_dropdown("show", ("render",), visible=False)
        self.choice.on_update(lambda _: self._show())

    def _show(self) -> None:
        """Put the content that is chosen into the browsers' scenes."""
        with self._lock:
            self._show_content()

    def _show_content(self) -> None:
        content = self.content
        if content is None:
            return
        there = {"mesh": content.mesh, "splats": content.splats, "render": content.scene}
        names = tuple(name for name, part in there.items() if part is not None)
        if names and self.choice.options != names:
            # Splats before the mesh that was made of them; a picture where there is nothing else.
            first = next(name for name in ("splats", "mesh", "render") if name in names)
            self.choice.options = names
            self.choice.value = first
        self.choice.visible = len(names) > 1
        self.title.content = f"**{_plain(content.title)}**"
        self.status.content = _plain(content.status)
        chosen = self.choice.value if names else ""
        self._add(content, chosen)
        if chosen != "render":
            for client in self.server.get_clients().values():
                client.scene.set_background_image(None)
        self._glances.clear()

    def _add(self, content: Content, chosen: str) -> None:
        scene = self.server.scene
        if chosen == "mesh" and content.mesh is not None:
            scene.add_glb("/asset", content.mesh)
        elif chosen == "splats" and content.splats is not None:
            cloud = content.splats
            scene.add_gaussian_splats("/asset", cloud.centers, cloud.covariances, cloud.colors, cloud.opacities)
        else:
            scene.remove_by_name("/asset")

    def _draw(self, name: int, client: Any) -> None:
        content, camera = self.content, client.camera
        if content is None or content.scene is None or self.choice.value != "render":
            return
        view = (tuple(camera.wxyz), tuple(camera.position), camera.fov, camera.image_height, camera.image_width)
        glance = self._glances.get(name)
        if glance is None or glance.mark != (view, self._version):
            glance = self._glances[name] = _Glance((view, self._version), time.monotonic())
        size = SIZES[1] if time.monotonic() - glance.since > REST else SIZES[0]
        if size <= glance.size:
            return
        height, width = raster(camera.image_height, camera.image_width, size)
        seen = browser_camera(camera.wxyz, camera.position, camera.fov, height, width)
        drawn = picture(content.scene, seen, content.progress)
        with self._lock:
            # Meanwhile a visitor may have chosen something else.
            if self.choice.value == "render" and self._glances.get(name) is glance:
                client.scene.set_background_image(drawn, format="jpeg")
                glance.size = size


def _start(host: str, port: int) -> Any:
    try:
        import viser
    except ImportError as error:
        raise ValueError("the viewer needs viser: pip install 'dreamkit[view]'") from error
    _check_port(host, port)
    return viser.ViserServer(host=host, port=port, label="dreamkit", verbose=False)


def _check_port(host: str, port: int) -> None:
    """viser would take the next free port and say so only in its own words; 0 means any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host}:{port} ({error.strerror}). Another viewer may be open there; choose another "
                f"port: --port {port + 1}"
            ) from error


def _plain(text: str) -> str:
    """A text that markdown shows as it is: what people wrote is no markup."""
    return "".join(f"&#{ord(mark)};" if mark in "\\`*_{}[]()<>#+!|&~\n" else mark for mark in text)
