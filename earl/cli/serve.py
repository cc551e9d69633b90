"""`earl serve`: the farm as an HTTP service."""

import importlib.util
from pathlib import Path

import click

from earl.cli.common import console
from toolchain.errors import UsageError

_NEEDED = ("fastapi", "uvicorn", "prometheus_client")


@click.command()
@click.option("--bind", default="127.0.0.1:8765", show_default=True, metavar="HOST:PORT", help="Port 0: any free one.")
@click.option("--num-workers", type=click.IntRange(min=1), default=2, show_default=True, help="Judging processes.")
@click.option("--isolation", default="auto", show_default=True, help="Rung that candidates run on.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with the token that clients must send.")
@click.option("--max-pending-jobs", type=click.IntRange(min=1), default=2048, show_default=True, help="Beyond: 429.")
@click.option("--cache", default="", metavar="FILE", help="Verdicts and golden traces kept between runs.")
def command(
    bind: str, num_workers: int, isolation: str, token_file: Path | None, max_pending_jobs: int, cache: str
) -> None:
    """Serve verdicts over HTTP until Ctrl-C or SIGTERM. The interface is described under /docs.

    Prints its URL on stdout once it listens. Elsewhere than on the loopback it needs a token.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"earl serve needs {', '.join(missing)}; pip install 'earl-rtl[service]'")
    from earl.signals import StopRequest
    from verifiers.connect import FarmSettings, connect, read_token
    from verifiers.service import ServiceSettings
    from verifiers.service_server import make_server, open_listener, url_of

    token = read_token(token_file) if token_file else None
    settings = ServiceSettings(token=token, max_pending_jobs=max_pending_jobs)
    # A signal ends the server, which then raises it once more, as if it had come now: StopRequest takes that one.
    with open_listener(bind, has_token=token is not None) as listener, StopRequest() as stop:
        with connect("local", FarmSettings(num_workers=num_workers, isolation=isolation, cache=cache)) as farm:
            server = make_server(farm, settings)
            console.print(f"{num_workers} workers on rung {farm.isolation}, {'a' if token else 'no'} token")
            click.echo(url_of(listener))
            if not stop.is_set:
                server.run(sockets=[listener])
        console.print("stopped")
