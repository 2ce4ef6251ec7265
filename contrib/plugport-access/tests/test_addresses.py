"""Addresses of peers, and lists of networks: held against the standard library's."""

import ipaddress
import random
from pathlib import Path

import pytest
from plugport.errors import OptionError

from plugport_access.addresses import Networks, address_of, group_of
from plugport_access.lists import AddressList


@pytest.mark.parametrize(
    ("client_address", "expected"),
    [
        (("192.0.2.1", 5000), bytes([192, 0, 2, 1])),
        (("::ffff:192.0.2.1", 5000, 0, 0), bytes([192, 0, 2, 1])),
        (("2001:db8::1", 5000, 0, 0), bytes.fromhex("20010db8000000000000000000000001")),
        (("fe80::1%eth0", 5000, 0, 2), bytes.fromhex("fe800000000000000000000000000001")),
        ("", None),
        ("/run/client.sock", None),
        (b"\0abstract", None),
        (None, None),
        ((), None),
        ((3, 5000), None),  # vsock: a machine's number
    ],
)
def test_the_address_of_a_peer(client_address: object, expected: bytes | None) -> None:
    assert address_of(client_address) == expected


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "1.2.3.4.5", "::1::", "256.1.1.1"])
def test_what_is_no_address_is_an_error(host: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - it has no message of its own
        address_of((host, 1))


def test_peers_of_one_network_count_as_one() -> None:
    one, same = (ipaddress.ip_address(text).packed for text in ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::"))
    other = ipaddress.ip_address("2001:db8:1:3:3::4").packed
    assert group_of(one, 64) == group_of(same, 64) != group_of(other, 64)
    assert group_of(one, 63) == group_of(other, 63)
    assert group_of(one, 128) != group_of(same, 128)
    assert group_of(one, 32) != group_of(one[:4], 32), "a network is no address of IPv4"
    assert group_of(bytes([192, 0, 2, 1]), 8) == bytes([192, 0, 2, 1]), "one of IPv4 stands for itself"


def test_a_list_says_of_each_address_what_the_networks_say() -> None:
    dice = random.Random(7)
    for version, bits, prefixes in ((4, 32, (0, 32)), (6, 128, (0, 128))):
        make = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
        for _ in range(60):
            networks = [
                make((dice.getrandbits(bits), dice.randint(max(prefixes[0], 1), bits)), strict=False)
                for _ in range(dice.randint(0, 12))
            ]
            looked_up = Networks(map(str, networks))
            edges = [edge for each in networks for edge in (int(each[0]), int(each[-1]))]
            numbers = [*edges, *(edge + step for edge in edges for step in (-1, 1)), dice.getrandbits(bits)]
            for number in numbers:
                if 0 <= number < 2**bits:
                    address = ipaddress.ip_address(number.to_bytes(bits // 8, "big"))
                    expected = any(address in network for network in networks)
                    assert (address.packed in looked_up) is expected, (address, networks)


def test_the_versions_are_apart_but_for_mapped_addresses() -> None:
    everybody = Networks(["::/0"])
    assert bytes(16) in everybody
    assert bytes(4) not in everybody
    mapped = Networks(["::ffff:10.0.0.0/104"])
    assert bytes([10, 1, 2, 3]) in mapped
    assert bytes([11, 1, 2, 3]) not in mapped
    assert bytes(4) not in Networks([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.5/8", "'10.0.0.5/8' is an address within a network; the network is 10.0.0.0/8"),
        ("10.0.0.300", "'10.0.0.300' is neither an address nor a network"),
        ("example.org", "'example.org' is neither an address nor a network"),
        ("10.0.0.0/8,10.1.0.0/16", "is neither an address nor a network"),
        ("", "'' is neither an address nor a network"),
    ],
)
def test_what_is_no_network_is_refused(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        AddressList("allow", [text], None)
    assert str(caught.value).startswith("access.allow: ")
    assert message in str(caught.value)


def test_a_file_adds_to_the_list_and_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "deny"
    file.write_text("# the neighbours\n192.0.2.0/24  # all of them\n\n")
    found = AddressList("deny", ["10.0.0.1"], str(file))
    inside, option, later = bytes([192, 0, 2, 9]), bytes([10, 0, 0, 1]), bytes([198, 51, 100, 1])
    assert inside in found.networks
    assert option in found.networks
    assert later not in found.networks
    file.write_text("198.51.100.0/24\n192.0.2.0/24\n")
    found.refresh()
    assert later in found.networks
    networks = found.networks
    found.refresh()
    assert found.networks is networks, "what has not changed is not read"
    file.write_text("198.51.100.0/24\nrubbish\n")
    for _ in range(2):
        found.refresh()
    assert later in found.networks
    assert inside in found.networks
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1, "it is said once"
    assert f"{file}, line 2: 'rubbish' is neither an address" in warnings[0]
    assert warnings[0].endswith("; the list is unchanged")
    file.unlink()
    found.refresh()
    assert inside in found.networks


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "can't be read: No such file or directory"), (b"\xff\xfe", "is not UTF-8 text")],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "allow"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OptionError, match=message):
        AddressList("allow", [], str(file))
