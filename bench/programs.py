"""The C programs of the benchmarks, built where a compiler is present."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE / "build"
_LIBRARIES = {"ping": ["-lm"], "accept_all": ["-lnetfilter_queue", "-lnfnetlink"], "callgrind": ["-shared", "-fPIC"]}


def build(name: str) -> Path:
    """Build `name`.c unless it is built already, and give the program. Raises OSError with what the compiler said."""
    source, program = HERE / f"{name}.c", BUILT / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise OSError("the benchmarks need a C compiler (Debian: build-essential)")
    BUILT.mkdir(exist_ok=True)
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *_LIBRARIES.get(name, [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{name}.c: {done.stderr.strip()}")
    return program
