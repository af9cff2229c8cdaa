"""What this process holds: once each, and in groups."""

from keptn_remedy.journal.claims import Claims


def test_what_is_held_is_not_taken_again_until_it_is_dropped() -> None:
    claims = Claims[str]()
    assert claims.take("carts", "1")
    assert not claims.take("carts", "1")
    assert list(claims.held) == ["1"]
    claims.drop("1")
    assert not claims.held
    assert claims.take("carts", "1")


def test_one_is_taken_alone_where_nothing_of_its_group_is_held() -> None:
    claims = Claims[str]()
    assert claims.take_alone("carts", "1")
    assert not claims.take_alone("carts", "2")
    assert claims.take_alone("orders", "3")
    claims.drop("1")
    assert claims.take_alone("carts", "2")


def test_a_group_is_free_when_the_last_of_it_is_dropped() -> None:
    claims = Claims[int]()
    claims.take("a", 1)
    claims.take("a", 2)
    claims.drop(1)
    assert (list(claims.groups), list(claims.held)) == (["a"], [2])
    claims.drop(2)
    claims.drop(2)
    assert (list(claims.groups), list(claims.held)) == ([], [])


def test_a_group_is_not_reserved_while_something_of_it_is_awaited() -> None:
    claims = Claims[str]()
    with claims.awaiting("carts"):
        with claims.awaiting("carts"):
            assert not claims.reserve("carts")
        assert not claims.reserve("carts")
        assert claims.reserve("orders")
    assert claims.reserve("carts")


def test_what_was_dropped_since_a_look_began_is_not_taken_as_found() -> None:
    claims = Claims[str]()
    claims.take("carts", "1")
    claims.take("orders", "2")
    claims.drop("1")
    with claims.looking():
        assert claims.take_found("carts", "1")
        with claims.looking():
            claims.drop("2")
        assert not claims.take_found("orders", "2")
        assert claims.take_alone("orders", "2")
    claims.drop("2")
    with claims.looking():
        assert claims.take_found("orders", "2")
