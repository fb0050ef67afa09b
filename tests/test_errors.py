from lungfield.errors import DataError, user_error


def test_the_users_error_is_found_behind_others():
    outer = RuntimeError("Failed to evaluate")
    outer.__cause__ = DataError("the folder is empty")
    assert str(user_error(outer)) == "the folder is empty"
    assert user_error(ValueError("ours to mend")) is None
