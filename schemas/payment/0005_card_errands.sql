-- Card errands that cannot be ended now step back behind the others, and what the card processor
-- answered is kept beside what it was asked. A program of the version before neither reads nor writes
-- these columns: the defaults are those of an errand that was never tried.

-- answer: the state of the authorisation that the processor reported, once it is a final one. An errand
-- with an answer is not told again. next_at: not tried before, after so many attempts. refused_at: the
-- processor's answer contradicts the payment, and a person has to look; nothing tries it any more.
ALTER TABLE card_outbox
    ADD COLUMN answer     text CHECK (answer IN ('CAPTURED', 'REFUNDED', 'VOIDED', 'DECLINED', 'UNKNOWN')),
    ADD COLUMN attempts   integer     NOT NULL DEFAULT 0,
    ADD COLUMN next_at    timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN refused_at timestamptz;

-- The same for intents that are being voided. refused_at: the processor has taken the money.
ALTER TABLE card_authorizations
    ADD COLUMN attempts   integer     NOT NULL DEFAULT 0,
    ADD COLUMN next_at    timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN refused_at timestamptz;
