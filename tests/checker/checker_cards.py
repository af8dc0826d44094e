"""The independent checker's rules of cards (I1, I6): payments against the books of the simulated processor,
which lie in the same database, and so in the same snapshot. The product itself never reads them."""
from checker_rules import Violation


def payments_say_what_the_processor_says(state):
    """A payment whose errands are done stands as its authorisation does; for the same amount."""
    cards = state.cards
    for payment_id, (order_id, status, amount, reference) in cards.payments.items():
        if payment_id in cards.errands or not cards.books:
            continue
        _, said, booked = cards.books.get(reference, ("", "UNKNOWN", amount))
        if (status, amount) != (said, booked):
            yield Violation("I6", "card_books_differ", order_id,
                            f"payment {status} {amount}, the processor says {said} {booked}")


def authorisations_belong_to_something(state):
    """Money that the processor holds or took stands for a payment, or for an intent that is let go."""
    cards = state.cards
    used = {reference: payment_id for payment_id, (_, _, _, reference) in cards.payments.items()}
    for reference, (request_key, said, amount) in cards.books.items():
        if said in ("AUTHORIZED", "CAPTURED") and reference not in used and request_key not in cards.intents:
            yield Violation("I6", "card_held_for_nothing", request_key, f"{said} {amount}, and no payment")


def what_was_given_back_was_reversed(state):
    cards = state.cards
    for payment_id, (order_id, status, _, _) in cards.payments.items():
        due = any(action == "REVERSE" for action, _ in cards.errands.get(payment_id, ()))
        if status in ("VOIDED", "REFUNDED") and not due and order_id not in cards.reversed:
            yield Violation("I1", "reversal_forgotten", order_id, f"{status}, and nothing reversed it")


def refused_errands_need_a_person(state):
    cards = state.cards
    for payment_id, errands in cards.errands.items():
        for action, refused in errands:
            if refused and payment_id in cards.payments:
                yield Violation("I1", "card_errand_refused", cards.payments[payment_id][0], f"{action} was refused")
    for key, refused in cards.intents.items():
        if refused:
            yield Violation("I6", "card_taken_for_nothing", key, "captured, and nothing used it")


CARD_CHECKS = (payments_say_what_the_processor_says, authorisations_belong_to_something,
               what_was_given_back_was_reversed, refused_errands_need_a_person)
