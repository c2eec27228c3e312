"""Which driver a MySQL URL means."""

from __future__ import annotations

import pytest

from buildbot.db.dialects import InvalidURLError, dialect_for, mysql


@pytest.mark.parametrize(
    ("url", "with_mysqlclient", "without"),
    [
        ("mysql://h/d", "mysql+mysqldb", "mysql+pymysql"),
        ("mysql+mysqldb://h/d", "mysql+mysqldb", "mysql+pymysql"),
        ("mariadb://h/d", "mysql+mysqldb", "mysql+pymysql"),
        ("mysql+pymysql://h/d", "mysql+pymysql", "mysql+pymysql"),
    ],
)
def test_driver(url: str, with_mysqlclient: str, without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster driver is used where it is installed, unless the URL names the other one."""
    monkeypatch.setattr(mysql, "MySQLdb", object())
    assert dialect_for(url).url.drivername == with_mysqlclient
    monkeypatch.setattr(mysql, "MySQLdb", None)
    assert dialect_for(url).url.drivername == without


def test_other_driver() -> None:
    """Other drivers are refused."""
    with pytest.raises(InvalidURLError, match=r"the driver of 'mysql\+asyncmy' is not supported; write mysql://"):
        dialect_for("mysql+asyncmy://h/d")
