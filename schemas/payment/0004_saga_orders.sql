-- Whose order a step was for: a log that went back has lost the saga, and only its barriers can tell
-- (txcoord/engine/lost_sagas.hpp). Null: written by a version that did not say.
ALTER TABLE txc_saga_steps ADD COLUMN order_id uuid;
