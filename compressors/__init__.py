"""Pure functions that make models smaller. No Prefect, no MLflow: each works alone on any model directory."""
