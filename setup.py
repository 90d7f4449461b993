"""The folder -> package map, and nothing else: metadata and tool settings live in pyproject.toml.

`export/` and `profiles/` lie beside `edgeclip/` and are imported as `edgeclip.exporting` and
`edgeclip.profiles`: the folder list is the pipeline, and no top-level package called `export`
ends up in anyone's site-packages.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["edgeclip", "edgeclip.*"]),
        "edgeclip.exporting",
        "edgeclip.profiles",
    ],
    package_dir={"edgeclip": "edgeclip", "edgeclip.exporting": "export", "edgeclip.profiles": "profiles"},
    package_data={
        "edgeclip": ["py.typed"],
        "edgeclip.profiling": ["kit/*"],
        "edgeclip.chain.demo": ["*.toml"],
        "edgeclip.evaluation": ["suites/*.toml"],
        "edgeclip.profiles": ["*.toml"],
        "edgeclip.models": ["*.csv"],
        "edgeclip.towers": ["*.csv"],
        "edgeclip.reporting": ["*.html", "*.css"],
    },
)
