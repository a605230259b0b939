-- Reservations that expired, in the order in which they were granted: pages of GET /v1/reservations?state=expired. Few are.
create index reservations_expired_id on reservations (id) where state = 'expired';
