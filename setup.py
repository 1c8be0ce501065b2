"""The distribution `glasc`: what it contains and what it needs.

Owns the list of packages, dependencies and scripts. Does not know how tools are configured (pyproject.toml)
or how a clone is set up (Makefile).

The folders `grammar/` and `runtime_c/` are not Python packages: a checkout has them beside `glasc/`, a
wheel has them inside it. `glasc.paths` finds them in both.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
DATA_FOLDERS = ("grammar", "runtime_c")


class BuildWithData(build_py):
    """Copies the data folders into the built `glasc`; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for folder in DATA_FOLDERS:
            shutil.copytree(HERE / folder, Path(self.build_lib) / "glasc" / folder, dirs_exist_ok=True)


setup(
    name="glasc",
    version="0.1.0",
    description="Compiler and runtime for glas programs that run as many mirrors of one app",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "."},
    packages=find_packages(include=["glasc", "glasc.*", "glasrt", "glasrt.*"]),
    package_data={
        "glasc": ["py.typed", "python_abi/*.h"],
        "glasc.emit": ["templates/*.j2"],
        "glasrt": ["py.typed"],
    },
    cmdclass={"build_py": BuildWithData},
    entry_points={"console_scripts": ["glasc = glasc.__main__:main", "glasrt = glasrt.__main__:main"]},
    install_requires=[
        "lark>=1.1.9,<2",
        "jinja2>=3.1,<4",
        "cffi==2.1.1",  # exact, as ziglang: it writes part of the C of a bundle
        "ziglang==0.15.2",  # exact: the bytes of a bundle come from it
        "setuptools>=68",
        "rich>=13,<16",
        "click>=8.1,<9",
        "uvicorn>=0.54,<0.55",  # closely: glasrt/http_wire.py extends its protocols
        "httptools>=0.6,<1",
        "h11>=0.14,<1",
        "uvloop>=0.19,<1; sys_platform != 'win32' and platform_python_implementation == 'CPython'",
    ],
    extras_require={
        "dev": [
            "pytest>=8,<10",
            "pytest-timeout>=2.3,<3",
            "pytest-xdist>=3.5,<4",
            "hypothesis>=6.100,<7",
            "mypy>=1.10,<3",
            "ruff>=0.5,<1",
            "types-cffi",
            "types-setuptools",
        ],
    },
)
