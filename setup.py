"""What pyproject.toml cannot say: which modules are compiled when the package is built (conduitfw/build.py lists them).

Each is plain Python and stays in the package beside its compiled form, which Python prefers; where there is no
compiler, or CONDUITFW_COMPILE=0 says so, it is all there is. A development install (`pip install --editable`)
compiles nothing, so that what is edited is what runs: `make compiled` builds a tree of its own.
"""

import os
import runpy
import sys

from setuptools import Extension, setup

# Bounds are checked everywhere: this code reads hostile bytes. Annotations are for people and mypy; what is typed for
# the compiler stands in a .pxd beside the module.
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "boundscheck": True,
    "wraparound": True,
    "nonecheck": True,  # or an attribute of None would be a crash where its type is declared
}


def _extensions() -> list[Extension]:
    """The modules to compile; none where that is not wanted or Cython is not there."""
    if os.environ.get("CONDUITFW_COMPILE", "1") == "0" or "editable_wheel" in sys.argv:
        return []
    try:
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError
    except ImportError:
        return []
    extensions = [
        Extension(f"conduitfw.{name}", [f"conduitfw/{name.replace('.', '/')}.py"])
        for name in runpy.run_path("conduitfw/build.py")["MODULES"]
    ]
    try:
        found: list[Extension] = cythonize(
            extensions, compiler_directives=DIRECTIVES, build_dir="build/c", nthreads=os.cpu_count() or 1
        )
    except CompileError as error:  # a Cython that reads them otherwise: `doctor` says that nothing is compiled
        print(f"warning: not compiled: {error}", file=sys.stderr)
        return []
    for extension in found:
        extension.optional = True  # without a C compiler the package installs and works, slower
    return found


setup(ext_modules=_extensions())
