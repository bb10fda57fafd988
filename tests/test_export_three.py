"""An exported PBR ball in a stock viewer: three.js in headless Chromium shows what our renderer shows (rep T8.7)."""

import base64
import io
import json
import queue
import shutil
import subprocess
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from node import node_folder
from PIL import Image

from dreamkit.cameras import Cameras, orbit
from dreamkit.convert.bake import bake, bake_normals
from dreamkit.convert.unwrap import unwrap
from dreamkit.export.gltf import write_glb
from dreamkit.materials.illumination import environment_light, environment_path
from dreamkit.mesh import Mesh
from dreamkit.renderers.surface import render_surface
from dreamkit.vectors import normalize

SIZE = 192
FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE = 240
"Seconds that Chromium may take for a picture, on a busy machine."


class Studio(SimpleHTTPRequestHandler):
    """Serves a folder, and takes the picture that the page posts."""

    def __init__(self, *given: object, pictures: queue.Queue, directory: str) -> None:
        self.pictures = pictures
        super().__init__(*given, directory=directory)

    def do_POST(self) -> None:
        self.pictures.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def photograph(mesh: Mesh, camera: Cameras, sky: str, folder: Path, ending: str = "glb") -> torch.Tensor:
    """What three.js shows of the exported mesh; skips without node, three or Chromium, and a USDZ without usd-core."""
    modules, chromium = node_folder("three"), shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    if ending == "usdz":
        pytest.importorskip("pxr", reason="needs usd-core: pip install 'dreamkit[usd]'")
        from dreamkit.export.usd import write_usdz as write
    else:
        write = write_glb
    write(mesh, folder / f"asset.{ending}")
    shutil.copy(environment_path(sky), folder / "light.hdr")
    shutil.copy(Path(__file__).with_name("three_view.html"), folder)
    (folder / "node_modules").symlink_to(modules)
    view = {"size": SIZE, "fov": float(camera.fov[0]), "position": camera.position[0].tolist(), "ending": ending}
    (folder / "view.json").write_text(json.dumps(view))
    pictures: queue.Queue = queue.Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Studio, pictures=pictures, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/three_view.html"
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", address]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        posted = pictures.get(timeout=PATIENCE)
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
    assert posted.startswith("data:image/png;base64,"), posted[:800]
    found = posted.partition(",")[2]
    image = Image.open(io.BytesIO(base64.b64decode(found))).convert("RGB")
    return torch.from_numpy(np.array(image)).float() / 255


def painted_ball() -> Mesh:
    """Red towards +X, green towards +Y, blue towards +Z; a metal belt; rougher below; dents from a normal map."""
    solid = trimesh.creation.icosphere(subdivisions=4, radius=0.8)
    ball = unwrap(Mesh(torch.tensor(solid.vertices).float(), torch.tensor(solid.faces)), 512)

    def look(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        metal = (points[:, 1:2].abs() < 0.2).float()
        rough = 0.45 - 0.3 * points[:, 1:2]
        return torch.cat([0.5 + 0.5 * points, torch.ones_like(metal), rough, metal], dim=-1)

    def dents(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        return normalize(normals + 0.15 * torch.sin(12 * points))

    return replace(bake_normals(bake(ball, look, 512), dents, 512), unlit=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sky", "azimuth", "ending"), [("studio", 0.0, "glb"), ("sunset", 130.0, "glb"), ("studio", 0.0, "usdz")]
)
def test_t8_7_three_js_shows_what_we_show(sky, azimuth, ending, tmp_path):
    """PSNR at least 25 dB, and less for every picture that is mirrored, upside down or turned."""
    mesh, camera = painted_ball(), orbit([azimuth], 20.0, height=SIZE, width=SIZE)
    theirs = photograph(mesh, camera, sky, tmp_path, ending)
    ours = render_surface(mesh, camera, light=environment_light(sky)).color[0]

    def psnr(image: torch.Tensor) -> float:
        return float(-10 * torch.log10((image - theirs).square().mean()))

    print("three.js", sky, ending, psnr(ours), [psnr(wrong) for wrong in (ours.flip(0), ours.flip(1), ours.rot90())])
    Image.fromarray((torch.cat([ours, theirs], 1) * 255).byte().numpy()).save(tmp_path / "pair.png")
    assert psnr(ours) > 25
    assert max(psnr(wrong) for wrong in (ours.flip(0), ours.flip(1), ours.rot90())) < psnr(ours) - 5
