"""Packaging of tfkd and its generators."""

import pathlib

from setuptools import find_packages, setup

# What users may want beside the core.
EXTRAS = {
    "litert": ["ai-edge-litert>=2.0"],
    # It imports tqdm and does not say so.
    "aeq": ["ai-edge-quantizer>=0.10,<0.11", "tqdm>=4.60"],
    "report": ["matplotlib>=3.8", "jinja2>=3.1", "tensorboard>=2.18"],
    "search": ["keras-tuner[bayesian]>=1.4.7,<1.5"],
    "text": ["keras-hub>=0.25,<0.33", "tokenizers>=0.21", "safetensors>=0.4"],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})
EXTRAS["test"] = [
    *EXTRAS["all"],
    "pytest>=8",
    "pytest-cov>=6",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "selenium>=4.20",
    "nbclient>=0.10",
    "ipykernel>=6.29",
    "build>=1.2",
    "twine>=6.1",
    "ruff>=0.12",
    "pyright[nodejs]>=1.1.400",
    "mkdocs-material>=9.6,<10",
    "mkdocstrings[python]>=0.29,<2",
]

setup(
    name="tfkd",
    version="0.1.0",
    description="Data-free and adversarial knowledge distillation for Keras",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    py_modules=["tfkd_programs"],
    packages=find_packages(include=["tfkd", "tfkd.*", "generators", "generators.*"]),
    package_data={"tfkd": ["py.typed"], "tfkd.export": ["*.j2"], "generators": ["pictures/*"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        # docs/versions.md says which were tried together.
        "tensorflow>=2.18,<2.22",
        "keras>=3.10,<3.16",
        # Each release wants TensorFlow of the same minor version.
        "tf_keras>=2.18,<2.22",
        "tensorflow-model-optimization>=0.8.0,<0.9",
        "numpy>=1.26",
        "flatbuffers>=25.9",
        "absl-py>=1.4",
        "rich>=14.1",
        "typing_extensions>=4.0",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "tfkd = tfkd_programs:main",
            "tfkd-data-free = tfkd_programs:data_free",
            "tfkd-distill = tfkd_programs:distill",
            "tfkd-compress = tfkd_programs:compress",
            "tfkd-search = tfkd_programs:search",
            "tfkd-inspect = tfkd_programs:inspect",
        ]
    },
)
