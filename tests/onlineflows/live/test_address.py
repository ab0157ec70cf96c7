import socket

import pytest

from onlineflows.errors import ConfigError
from onlineflows.live.address import Address
from onlineflows.live.settings import LiveConfig


@pytest.mark.parametrize("text", ["127.0.0.1", ":9464", "localhost:", "localhost:x", "a:99999", ""])
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected host and port"):
        Address.of(text)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "localhost:2", "[::1]:3"])
def test_loopback_needs_no_permission(text: str) -> None:
    assert LiveConfig(address=text).address == text
    assert str(Address.of(text)) == text


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "10.0.0.7:80", "example.org:80"])
def test_an_address_that_others_can_reach_needs_permission(text: str) -> None:
    with pytest.raises(ConfigError, match="nobody is asked who they are"):
        LiveConfig(address=text)
    assert LiveConfig(address=text, expose=True).address == text


def test_no_address_is_no_page() -> None:
    assert LiveConfig().address == ""


def test_a_taken_port_is_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError, match="expected an address to listen at"):
            address.listen()


def test_a_free_port_is_known_once_it_is_bound() -> None:
    with Address("127.0.0.1", 0).listen() as listening:
        assert Address.heard_at(listening, "127.0.0.1").port > 0


def test_a_browser_finds_a_server_of_all_interfaces_on_loopback() -> None:
    assert Address("0.0.0.0", 80).url == "http://127.0.0.1:80/"
    assert Address("::", 80).url == "http://[::1]:80/"
