"""Packaging of sslx: encoder extraction studies in JAX and Flax."""

from setuptools import find_packages, setup

setup(
    name="sslx",
    version="0.2.0",
    description="Train, serve, steal and probe self-supervised image encoders.",
    license="MIT",
    packages=find_packages(include=["sslx", "sslx.*"]),
    package_data={
        "sslx.cli": ["templates/*.j2"],
        "sslx.report": ["templates/*.j2"],
        "sslx.shipped": ["*.json", "*.safetensors"],
    },
    entry_points={"console_scripts": ["sslx=sslx.cli:main"]},
    python_requires=">=3.11.4",  # filters of tarfile
    install_requires=[
        "absl-py",
        "flax>=0.12",
        "importlib_resources",  # tensorflow-datasets needs it and does not say so
        "jax>=0.10,<0.13",
        "jaxtyping",
        "jinja2",
        "matplotlib>=3.7",
        "ml-collections>=1.1",
        "numpy>=2",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11",
        "pillow>=10.1",  # for tensorflow-datasets, too
        "safetensors",
        "scikit-learn>=1.5",
        "scipy",
        "tensorboardX",
        "tensorflow-datasets>=4.9.9",
        "threadpoolctl",
        "tqdm",
    ],
    extras_require={
        # Pinned: another version of a tool may judge the same line otherwise.
        "dev": [
            "beartype==0.23.1",
            "hypothesis==6.170.17",
            "mypy==2.4.1",
            "pytest==9.2.0",
            "pytest-xdist==3.8.0",
            "ruff==0.17.6",
            "types-tqdm==4.70.0.20261106",
        ],
        "torch": ["torch>=2.6"],  # reads .pth files
        "bench": ["torch>=2.6"],  # what benchmarks compare with
    },
)
