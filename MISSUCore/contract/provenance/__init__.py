"""Who changed what: what computed segments, how they were edited since, and who signed them off."""
