from msgspec.structs import replace

from onlineflows.live.spectrum import Spectrum
from streams.telemetry import Marginal

WINDOW = Marginal("mjj", "TeV", 0.0, 2.0, [6, 4], 10)


def test_windows_that_do_not_overlap_are_summed() -> None:
    spectrum = Spectrum()
    spectrum.add(WINDOW, n_windowed=10)
    spectrum.add(replace(WINDOW, counts=[1, 8]), n_windowed=20)
    assert (spectrum.counts, spectrum.n) == ([7, 12], 20)


def test_no_event_is_counted_twice() -> None:
    spectrum = Spectrum()
    for n_windowed in (10, 10, 15, 19, 20):
        spectrum.add(WINDOW, n_windowed)
    assert spectrum.n == 20


def test_other_bins_begin_a_new_sum() -> None:
    spectrum = Spectrum()
    spectrum.add(WINDOW, n_windowed=10)
    spectrum.add(replace(WINDOW, high=3.0), n_windowed=20)
    assert (spectrum.counts, spectrum.n) == ([6, 4], 10)


def test_a_learner_that_goes_back_begins_a_new_sum() -> None:
    spectrum = Spectrum()
    spectrum.add(WINDOW, n_windowed=100)
    spectrum.add(WINDOW, n_windowed=50)
    assert spectrum.n == 10
