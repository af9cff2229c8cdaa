"""What this process holds: once each, and in groups."""

from keptn_remedy.journal.claims import Claims


def test_what_is_held_is_not_taken_again_until_it_is_dropped() -> None:
    claims = Claims[str]()
    assert claims.take("carts", "1")
    assert not claims.take("carts", "1")
    assert claims.holds("carts", "1")
    claims.drop("carts", "1")
    assert not claims.holds("carts", "1")
    assert claims.take("carts", "1")


def test_one_is_taken_alone_where_nothing_of_its_group_is_held() -> None:
    claims = Claims[str]()
    assert claims.take_alone("carts", "1")
    assert not claims.take_alone("carts", "2")
    assert claims.take_alone("orders", "3")
    claims.drop("carts", "1")
    assert claims.take_alone("carts", "2")


def test_a_group_is_free_when_the_last_of_it_is_dropped() -> None:
    claims = Claims[int]()
    claims.take("a", 1)
    claims.take("a", 2)
    claims.drop("a", 1)
    assert ("a" in claims, claims.held) == (True, [2])
    claims.drop("a", 2)
    claims.drop("a", 2)
    assert ("a" in claims, claims.held, list(claims.groups)) == (False, [], [])
