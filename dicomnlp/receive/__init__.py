"""How an object comes in: every door ends in `intake.Intake.accept`, which returns only when the object is durable."""
