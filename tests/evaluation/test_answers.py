import pytest

from trainlab.evaluation.answers import in_points, interval_in_points, p_text


def test_points_have_a_sign_and_one_digit() -> None:
    assert [in_points(fraction) for fraction in (0.016, -0.003, 0.0, 1.0)] == ["+1.6", "−0.3", "+0.0", "+100.0"]
    assert interval_in_points(-0.003, 0.016) == "−0.3 to +1.6"


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (0.0496, "0.050"), (0.25, "0.250"), (1, "1.000")],
)
def test_p_values_below_a_thousandth_have_no_digits(p_value: float, text: str) -> None:
    assert p_text(p_value) == text
