"""Orders that stop a run: what each ends, and which of several counts."""

import threading

from services.stopping import Stop


def test_after_the_frame_ends_every_wait_but_that_for_a_frame() -> None:
    stop = Stop()
    stop.after_frame("paused", hold_cooler=True)
    assert (stop.edge.is_set(), stop.is_set(), stop.hurry.is_set()) == (True, False, False)
    assert stop.order is not None
    assert (stop.order.code, stop.order.hold_cooler) == ("paused", True)


def test_now_ends_a_frame_as_well_and_a_later_wish_for_a_frame_does_not_take_it_back() -> None:
    stop = Stop()
    stop.now("cancelled")
    stop.after_frame("paused", hold_cooler=True)
    assert stop.edge.is_set()
    assert stop.is_set()
    assert stop.order is not None
    assert (stop.order.code, stop.order.hold_cooler) == ("cancelled", False)


def test_ctrl_c_after_a_pause_ends_the_frame_and_no_longer_holds_the_cooler() -> None:
    said: list[int] = []
    stop = Stop(said.append)
    stop.after_frame("paused", hold_cooler=True)
    stop.ask()
    assert stop.is_set()
    assert not stop.hurry.is_set()
    assert stop.order is not None
    assert (stop.order.code, stop.order.hold_cooler) == ("interrupted", False)
    stop.ask()
    assert stop.hurry.is_set()
    stop.ask()
    assert said == [1, 2, 3], "each is answered"


def test_reasons_of_the_run_are_taken_back_and_orders_are_not() -> None:
    weather = Stop()
    weather.halt(at_edge=True)
    assert (weather.edge.is_set(), weather.is_set()) == (True, False)
    weather.halt(at_edge=False)
    assert weather.is_set()
    weather.withdraw()
    assert not weather.edge.is_set()
    assert not weather.is_set()
    weather.halt(at_edge=False)
    weather.after_frame("paused")
    weather.withdraw()
    assert (weather.edge.is_set(), weather.is_set()) == (True, False)
    weather.set()
    weather.withdraw()
    assert weather.is_set()


def test_somebody_who_waits_in_another_thread_hears_it() -> None:
    stop, heard = Stop(), threading.Event()
    waiting = threading.Thread(target=lambda: stop.edge.wait(20) and heard.set())
    waiting.start()
    stop.after_frame("cancelled")
    waiting.join(20)
    assert heard.is_set()


def test_a_frame_of_which_too_much_is_left_is_given_up_for_who_waits_for_the_camera() -> None:
    patient, hasty, late = Stop(), Stop(), Stop()
    with patient.exposing(lambda: 59.0), hasty.exposing(lambda: 61.0), late.exposing(lambda: 61.0):
        patient.after_frame("yielded", at_most_s=60.0)
        hasty.after_frame("yielded", at_most_s=60.0)
        late.after_frame("cancelled")  # whoever does not say so waits for the frame
    assert (patient.is_set(), hasty.is_set(), late.is_set()) == (False, True, False)
    assert patient.edge.is_set()
    assert late.edge.is_set()


def test_while_no_frame_is_exposed_nothing_has_to_be_given_up() -> None:
    stop = Stop()
    with stop.exposing(lambda: 600.0):
        pass
    stop.after_frame("yielded", at_most_s=60.0)
    assert (stop.edge.is_set(), stop.is_set()) == (True, False)


def test_an_order_that_comes_just_before_a_long_frame_gives_it_up_as_well() -> None:
    stop, patient = Stop(), Stop()
    stop.after_frame("yielded", at_most_s=60.0)
    patient.after_frame("paused")
    with stop.exposing(lambda: 600.0), patient.exposing(lambda: 600.0):
        assert (stop.is_set(), patient.is_set()) == (True, False)
    assert stop.order is not None
    assert stop.order.code == "yielded"
