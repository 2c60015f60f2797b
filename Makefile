# Thin words over deploy/dev.py, which works without make too (Windows: py -3.11 deploy\dev.py demo).
PYTHON ?= python3
STORES ?= 8
ROUNDS ?= 40
KEEP ?= 0
CHURN ?= 0

.PHONY: setup demo test bench bench-privacy bench-secagg bench-data soak fmt clean
setup test bench bench-privacy bench-secagg bench-data soak fmt clean:
	@$(PYTHON) deploy/dev.py $@ $(ARGS)

demo:
	@$(PYTHON) deploy/dev.py demo --stores $(STORES) --rounds $(ROUNDS) $(if $(filter-out 0,$(KEEP)),--keep) $(if $(filter-out 0,$(CHURN)),--churn) $(ARGS)
