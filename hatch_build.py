"""Compiles the kernels where the package is installed: what is installed is for this kind of machine."""

import runpy
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileKernels(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        libraries = runpy.run_path("transforms/kernels/compile.py")["compile_all"]()
        build_data["artifacts"] += [f"/transforms/kernels/{library.name}" for library in libraries]
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-linux_x86_64"
