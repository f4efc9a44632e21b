"""What all trainings share: loop, files, variables, schedules, scores."""
