import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.alpaca import imagebytes
from drivers.alpaca.imagebytes import decode, decode_json
from drivers.errors import BadImage, DriverError, ExposureFailed
from tests.support.scripted_alpaca import image_bytes

ELEMENTS = {1: "i2", 2: "i4", 3: "f8", 4: "f4", 5: "u8", 6: "u1", 7: "i8", 8: "u2", 9: "u4"}


def as_json(pixels: np.ndarray, **changes: object) -> bytes:
    answer = {"Type": 2, "Rank": 2, "Value": pixels.T.tolist(), "ErrorNumber": 0, "ErrorMessage": ""} | changes
    return json.dumps(answer).encode()


@pytest.mark.parametrize("element", ELEMENTS)
def test_every_element_type_becomes_uint16_with_y_first(element: int) -> None:
    pixels = np.arange(6, dtype=np.uint16).reshape(2, 3) * 40  # 3 wide, 2 high
    image = decode(image_bytes(pixels, element), num_x=3, num_y=2)
    assert image.pixels.dtype == np.uint16
    assert image.pixels.flags.c_contiguous
    assert image.wire_type == np.dtype(ELEMENTS[element]).name
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize(("element", "value"), [(1, -3), (2, -3), (2, 70_000), (7, -3), (9, 70_000), (3, -1.0)])
def test_values_beyond_16_bits_stay_32_bits(element: int, value: float) -> None:
    pixels = np.full((2, 3), value)
    image = decode(image_bytes(pixels, element), num_x=3, num_y=2)
    assert image.pixels.dtype == np.int32
    assert (image.pixels == value).all()


@pytest.mark.parametrize(
    ("element", "value"), [(3, 0.5), (4, np.nan), (3, np.inf), (7, 1 << 40), (9, 1 << 31), (5, 1 << 63)]
)
def test_values_that_are_no_whole_32_bit_numbers_are_refused(element: int, value: float) -> None:
    dtype = np.dtype(ELEMENTS[element])
    pixels = np.full((2, 3), value, dtype=dtype)
    with pytest.raises(BadImage, match="no whole numbers"):
        decode(image_bytes(pixels, element), num_x=3, num_y=2)


@pytest.mark.parametrize("shape", [(1, 1), (511, 513), (512, 1024), (1030, 700)])
@pytest.mark.parametrize("element", [2, 8])
def test_the_transpose_in_blocks_equals_the_plain_one(shape: tuple[int, int], element: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    image = decode(image_bytes(pixels, element), num_x=shape[1], num_y=shape[0])
    np.testing.assert_array_equal(image.pixels, pixels)


def test_one_value_in_the_last_block_decides_the_type() -> None:
    pixels = np.zeros((600, 600), np.int32)
    pixels[-1, -1] = -1
    image = decode(image_bytes(pixels, 2), num_x=600, num_y=600)
    assert image.pixels.dtype == np.int32
    assert image.pixels[-1, -1] == -1


def test_data_may_start_later_than_the_header_ends() -> None:
    pixels = np.ones((2, 3), np.uint16)
    np.testing.assert_array_equal(decode(image_bytes(pixels, start=60), num_x=3, num_y=2).pixels, pixels)


def test_an_error_frame_is_the_cameras_error_with_its_number() -> None:
    frame = image_bytes(np.empty((0, 0), np.uint16), error=0x40B, x=0, y=0) + "kein Bild: ü".encode()
    with pytest.raises(ExposureFailed, match="kein Bild: ü") as caught:
        decode(frame, num_x=3, num_y=2)
    assert caught.value.number == 0x40B


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version"),
        ({"start": 43}, "start at byte 43"),
        ({"start": -1}, "start at byte"),
        ({"start": 1 << 30}, "start at byte"),
        ({"rank": 3, "z": 3}, "rank 3"),
        ({"wire": 0}, "element type 0"),
        ({"wire": 10}, "element type 10"),
        ({"x": 3000, "y": 2000}, "3000 x 2000 pixels, not 3 x 2"),
        ({"x": 2, "y": 3}, "2 x 3 pixels, not 3 x 2"),
        ({"x": -3, "y": -2}, "-3 x -2"),
    ],
)
def test_a_lying_header_is_refused_by_name(changes: dict[str, int], words: str) -> None:
    # `start` must not make the test's own encoder pad a gigabyte
    good = bytearray(image_bytes(np.ones((2, 3), np.uint16)))
    order = ["version", "error", "client", "server", "start", "image", "wire", "rank", "x", "y", "z"]
    for name, value in changes.items():
        struct.pack_into("<i", good, 4 * order.index(name), value)
    with pytest.raises(BadImage, match=words):
        decode(good, num_x=3, num_y=2)


@pytest.mark.parametrize("cut", [0, 10, 43, 44, 50, 55])
def test_a_truncated_image_is_refused(cut: int) -> None:
    whole = image_bytes(np.ones((2, 3), np.uint16))
    with pytest.raises(BadImage):
        decode(whole[:cut], num_x=3, num_y=2)


def test_a_size_no_camera_has_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(BadImage, match="no camera"):
        decode(image_bytes(np.ones((2, 3), np.uint16)), num_x=1 << 20, num_y=1 << 20)


@pytest.mark.parametrize("pixels", [np.arange(6).reshape(2, 3), np.array([[-5, 0, 1], [70_000, 2, 3]])])
def test_json_images_are_decoded_alike(pixels: np.ndarray) -> None:
    image = decode_json(as_json(pixels), num_x=3, num_y=2)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixels.dtype == (np.uint16 if pixels.min() >= 0 else np.int32)
    assert image.wire_type == "json"


def test_json_may_be_spaced_and_ordered_as_it_likes() -> None:
    body = b'{ "ErrorMessage" : "]]", "Value" : [\n [ 1 , 2 ],\r\n\t[3,4] , [5,6]\n ] , "ErrorNumber":0, "Rank" : 2}'
    np.testing.assert_array_equal(decode_json(body, num_x=3, num_y=2).pixels, [[1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"ErrorNumber": 0x500, "ErrorMessage": "no image"}, ExposureFailed, "no image"),
        ({"ErrorNumber": 0x40B, "ErrorMessage": "not yet", "Value": None}, ExposureFailed, "not yet"),
        ({"ErrorNumber": 1, "ErrorMessage": "INDI", "Value": []}, ExposureFailed, "INDI"),
        ({"Rank": 3}, BadImage, "rank 3"),
        ({"Value": [[[1, 2, 3]] * 2] * 3, "Rank": 3}, BadImage, "rank 3"),
        ({"Value": [[[1, 2, 3]] * 2] * 3}, BadImage, "plain numbers"),
        ({"Value": [[1, 2], [3, 4]]}, BadImage, "2 columns"),
        ({"Value": [[1, 2]] * 4}, BadImage, "more than 3 columns"),
        ({"Value": [[1, 2], [3, 4], [5]]}, BadImage, "1 pixels, not 2"),
        ({"Value": [[1, 2], [3, 4], [5, "x"]]}, BadImage, "whole number"),
        ({"Value": [[1, 2], [3, 4], [5, None]]}, BadImage, "whole number"),
        ({"Value": [[1, 2], [3, 4], [5, 1.5]]}, BadImage, "whole number"),
        ({"Value": [[1, 2], [3, 4], [5, 1 << 70]]}, BadImage, "number"),
        ({"Value": [[1, 2], [3, 4], [True, False]]}, BadImage, "whole number"),
    ],
)
def test_json_images_that_are_none(changes: dict[str, object], error: type[DriverError], words: str) -> None:
    with pytest.raises(error, match=words):
        decode_json(as_json(np.zeros((2, 3), int), **changes), num_x=3, num_y=2)


FIELD = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1, 2, 3, 4, 8, 44, 45, 64]))


@given(
    st.lists(FIELD, min_size=11, max_size=11), st.binary(max_size=200), st.integers(-5, 40_000), st.integers(-5, 40_000)
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_do_worse_than_a_driver_error(fields: list[int], rest: bytes, num_x: int, num_y: int) -> None:
    data = struct.pack("<11i", *fields) + rest
    for head in (data, data[: len(rest) % 60], rest, struct.pack("<6i", 1, 0, 0, 0, 44, 2) + data[24:]):
        tracemalloc.start()
        try:
            for reader in (decode, decode_json):
                with pytest.raises(DriverError):
                    reader(head, num_x=num_x, num_y=num_y)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1_000_000


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_flipped_byte_gives_an_image_of_the_announced_size_or_a_driver_error(data: st.DataObject) -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    body = bytearray(data.draw(st.sampled_from([image_bytes(pixels), image_bytes(pixels, 2), as_json(pixels)])))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    for reader in (decode, decode_json):
        try:
            image = reader(bytes(body), num_x=4, num_y=3)
        except DriverError:
            continue
        assert image.pixels.shape == (3, 4)
        assert image.pixels.dtype in (np.uint16, np.int32)


def test_the_json_limit_lets_the_widest_numbers_pass() -> None:
    pixels = np.full((50, 60), -(2**31))
    body = json.dumps({"Value": pixels.T.tolist()}, indent=1).encode()
    assert len(as_json(pixels)) < imagebytes.json_limit(60, 50)
    assert len(body) < imagebytes.json_limit(60, 50)


def test_an_image_that_outgrows_16_bits_in_its_last_column_keeps_what_came_before():
    wire = np.arange(300 * 7, dtype=np.int32).reshape(300, 7)
    wire[-1, 3] = 70_000
    pixels = imagebytes.normalise(wire, device="camera")
    assert pixels.dtype == np.int32
    assert np.array_equal(pixels, wire.T)


def test_room_of_another_size_is_not_used():
    room = imagebytes.room_for(5, 4)
    assert imagebytes.Turning(5, 4, device="camera", room=room).pixels is room
    assert imagebytes.Turning(4, 5, device="camera", room=room).pixels.shape == (5, 4)
