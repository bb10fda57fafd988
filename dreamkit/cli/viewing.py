"""The command that shows a run in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from dreamkit.cli.application import app, console, explained


@app.command()
def view(
    run: Annotated[Path, typer.Argument(help="The folder of a run, a GLB mesh, or a PLY cloud of Gaussians.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 for any free port.")] = 8080,
    host: Annotated[str, typer.Option(help="0.0.0.0 opens the view to the whole network.")] = "127.0.0.1",
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks for new files.")] = 2.0,
) -> None:
    """Show a run in the browser, also while it trains: mesh, splats, or the scene itself. Ctrl-C ends it."""
    with explained():
        from dreamkit.view.viewer import Viewer

        viewer = Viewer(run, port, host)
        console.print(f"{run}: http://{host}:{viewer.port}  (Ctrl-C ends it)", markup=False, soft_wrap=True)
        try:
            for content in viewer.serve(every):
                console.print(f"  {content.status}", style="dim", markup=False)
        except KeyboardInterrupt:
            console.print("closed")
        finally:
            viewer.close()
