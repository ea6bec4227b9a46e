"""What the commands for a running firewall share: its control socket, and what it refuses."""

from __future__ import annotations

import json
import socket
from typing import Any

import click

from conduitfw.runtime.control import DEFAULT_SOCKET, WAIT

SOCKET = click.option(
    "--socket",
    "socket_path",
    envvar="CONDUITFW_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    metavar="PATH",
    help="The control socket (also by the environment: CONDUITFW_SOCKET).",
)
_LONGER = 10.0  # seconds than control itself waits


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """One request to the control process, and its answer. Exits with 1 where nobody answers."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(WAIT[request["command"]] + _LONGER)
    try:
        with connection:
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        raise click.ClickException(f"nothing runs: nobody answers at {path}") from None
    except OSError as error:
        raise click.ClickException(f"no answer at {path}: {error}") from None
    if not line:
        raise click.ClickException(f"no answer at {path}: the connection was closed")
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer


def refuse(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer))
        raise SystemExit(1)
    for problem in answer.get("problems", ()):
        click.echo(problem_line(problem), err=True)
    raise click.ClickException(answer["error"])


def problem_line(problem: dict[str, Any]) -> str:
    place = f"{problem['file']}:{problem['line']}:{problem['column']}: " if problem.get("file") else ""
    return f"{place}{problem.get('severity', 'error')}: {problem['message']}"
