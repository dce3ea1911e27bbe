"""Streams that go on where nobody reads them."""

import os

import pytest

from tfkd.cli._terminal import LastingStream


def test_a_stream_whose_reader_is_gone_goes_on_into_nothing():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        stream = LastingStream(pipe)
        stream.write("read")
        stream.flush()
        assert os.read(reading, 10) == b"read"
        os.close(reading)
        for _ in range(3):
            stream.write("x" * 100_000)
            stream.flush()
        assert not stream.isatty() and stream.encoding == pipe.encoding


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a full disk")
def test_a_stream_on_a_full_disk_goes_on_into_nothing():
    with open("/dev/full", "w") as full:
        stream = LastingStream(full)
        stream.write("x" * 100_000)
        stream.flush()
