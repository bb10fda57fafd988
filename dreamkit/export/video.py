"""Moving and still previews: a turntable (H.264) and a strip of views (PNG)."""

from pathlib import Path

import imageio_ffmpeg
import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.export.atomic import atomic_path, write_atomically
from dreamkit.export.png import encode_png, to_bytes


def turntable_cameras(
    frames: int = 36, size: int = 256, elevation: float = 15.0, distance: float = 2.5, fov: float = 40.0
) -> Cameras:
    """One turn around the asset in `frames` equal steps, from the front and counter-clockwise seen from above."""
    return orbit([360.0 * i / frames for i in range(frames)], elevation, distance, fov, size, size)


def write_video(frames: Float[Tensor, "frames height width 3"], path: Path, rate: int = 18) -> None:
    """Write display-colour frames as H.264 in MP4 (yuv420p), `rate` frames a second.

    The codec halves the colour planes, so an odd height or width loses its last row or column. One encoder thread and
    no dates in the file: the same frames give the same bytes with the same ffmpeg. Raises ValueError for images below
    2 pixels or another ending than .mp4, and OSError when the file cannot be written or the encoder fails.
    """
    path = Path(path)
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    if path.suffix != ".mp4":
        raise ValueError(f"videos are written as .mp4; got {path.name}")
    if min(len(frames), height, width) < 1:
        raise ValueError(f"a video needs at least one frame of 2 by 2 pixels; got {tuple(frames.shape)}")
    settings = ["-crf", "18", "-preset", "medium", "-threads", "1", "-x264-params", "threads=1"]
    plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart"]
    with atomic_path(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=rate,
            codec="libx264",
            pix_fmt_out="yuv420p",
            # Sizes are even already; the default would stretch them to multiples of 16.
            macro_block_size=1,
            ffmpeg_log_level="error",
            output_params=[*settings, *plain],
        )
        writer.send(None)
        for frame in to_bytes(frames[:, :height, :width]):
            writer.send(frame.tobytes())
        writer.close()
        if temporary.stat().st_size == 0:
            raise OSError(f"ffmpeg wrote no video for {path}; is the disk full?")


def write_preview(views: Float[Tensor, "views height width 3"], path: Path) -> None:
    """Write views side by side as one PNG. Raises OSError when the file cannot be written."""
    write_atomically(path, encode_png(torch.cat(list(views), dim=1)))
