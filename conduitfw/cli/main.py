"""The `conduitfw` command: which subcommands there are. Each is loaded when it is asked for."""

from __future__ import annotations

import importlib

import click

from conduitfw import __version__

# Command -> module and name of the command in it, and how it stands in the list.
_COMMANDS = {
    "check": ("policy", "check", "Check a policy: errors and warnings."),
    "explain": ("policy", "explain", "Ask what a policy says of one request."),
    "schema": ("policy", "schema", "Print the JSON Schema of policies, for editors."),
    "nft": ("kernel", "nft", "Print the nftables ruleset of a policy."),
    "doctor": ("kernel", "doctor", "Check whether this machine can enforce."),
    "replay": ("replay", "replay_command", "Run a capture through a policy."),
    "run": ("service", "run", "Enforce a policy, in the foreground."),
    "status": ("service", "status", "Show whether conduits are enforced."),
    "reload": ("reload", "reload", "Take a changed policy."),
    "confirm": ("reload", "confirm", "Keep a policy that was reloaded with --confirm."),
    "rollback": ("reload", "rollback", "Go back to an earlier policy."),
    "history": ("reload", "history", "List the policies that were in force."),
    "boot": ("boot", "boot", "Load the last good policy's closed ruleset, before the network."),
    "upgrade": ("service", "upgrade", "Go on with a newly installed program; sessions live on."),
    "stop": ("service", "stop", "Stop the firewall."),
    "bench": ("bench", "bench", "Measure round trips of Modbus reads between two hosts."),
    "demo": ("demo", "demo", "Show it at work, in network namespaces."),
}


class _Commands(click.Group):
    """Commands by name; `check` must not wait for what only `run` needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"conduitfw.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="conduitfw")
def main() -> None:
    """A protocol-aware conduit firewall for operational technology.

    Exit status of every command: 0 fine, 1 refused or denied, 2 wrong usage.
    """


if __name__ == "__main__":
    main()
