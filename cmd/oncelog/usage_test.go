package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"clutser":                                `unknown command "clutser"; did you mean cluster?`,
		"frobnicate":                             `unknown command "frobnicate"; there are bench, cluster, demo`,
		"serve extra":                            `"extra" is too much: oncelog serve takes 0 arguments`,
		"publish a b":                            `"b" is too much: oncelog publish takes 1 arguments`,
		"cluster --nodez 3":                      "unknown flag --nodez; oncelog cluster has --data-dir, --gossip-port",
		"cluster -x":                             "unknown flag -x; oncelog cluster has",
		"cluster --nodes":                        "--nodes: a value is required: a whole number",
		"cluster --nodes three":                  `--nodes "three": must be a whole number`,
		"cluster --nodes 0":                      "--nodes 0: must be 1 to 7",
		"cluster --nodes 8":                      "--nodes 8: must be 1 to 7",
		"cluster --http-port 65535":              "HTTP port of n2: 65536 is no port; 1 to 65535 are",
		"serve --http-addr 8080":                 `--http-addr "8080": must be host:port, such as 127.0.0.1:8080`,
		"serve --raft-addr localhost:x":          `--raft-addr "localhost:x": must be host:port`,
		"serve --gossip-addr h:65536":            `--gossip-addr "h:65536": must be host:port`,
		"serve --join a:1,b":                     `--join "b": must be host:port`,
		"serve --join=":                          `--join "": must not be empty; leave it out for the default`,
		"serve --data-dir=":                      `--data-dir "": must not be empty`,
		"serve --name ../n1":                     `--name "../n1": is no name of a directory; say with --data-dir`,
		"serve --name ..":                        `--name "..": is no name of a directory`,
		"serve --bootstrap-expect 8":             "--bootstrap-expect 8: must be 1 to 7",
		"serve --pprof-addr nowhere":             "--pprof-addr",
		"serve --log-level loud":                 `--log-level "loud": must be info or debug or warn or error`,
		"serve --log-format xml":                 `--log-format "xml": must be text or json`,
		"serve --config /no/such/file":           `--config "/no/such/file": must be a file of settings in TOML`,
		"load --output xml":                      `--output "xml": must be table or json`,
		"load --events -1":                       "--events -1: must be 0 or more",
		"load --events 0":                        "--events 0: must be 1 or more where no --duration ends the load",
		"load --duplicates 1":                    "--duplicates 1: must be 0 or more and less than 1",
		"load --duplicates half":                 `--duplicates "half": must be a number`,
		"load --concurrency 0":                   "--concurrency 0: must be 1 or more",
		"load --batch 0":                         "--batch 0: must be 1 to 100000",
		"load --rate -1":                         "--rate -1: must be 0 or more",
		"load --duration fast":                   `--duration "fast": must be a duration such as 1.5s or 2m`,
		"load --topics=":                         "no topics",
		"load --seed -1":                         `--seed "-1": must be a whole number of 0 or more`,
		"load --verify=maybe":                    `--verify "maybe": must be true or false`,
		"load --targets ftp://x":                 "--targets: must be base URLs such as http://127.0.0.1:8080",
		"demo --events 0":                        "--events 0: must be 1000 or more",
		"demo --rate -1":                         "--rate -1: must be 0 or more",
		"stats --targets http://h/path":          "--targets: must be base URLs",
		"stats --consistency eventual":           `--consistency "eventual": must be linearizable or stale`,
		"events --limit -1":                      "--limit -1: must be 0 or more",
		"events --since yesterday":               `--since "yesterday": is not a timestamp like 2025-12-19T06:36:16.388Z`,
		"events --order timestamp":               `--order "timestamp": must be id or -id`,
		"leave --targets a:1,b:2":                "--targets names 2 nodes: say which of them leaves",
		"leave n1 n2":                            `"n2" is too much: oncelog leave takes 1 arguments`,
		"status --timeout soon":                  `--timeout "soon": must be a duration`,
		"tail --after first":                     `--after "first": must be a whole number of 0 or more`,
		"status --timeout 0":                     "--timeout 0s: must be more than 0",
		"verify":                                 "verify needs one of --data-dir",
		"verify --data-dir a --targets http://h": "verify needs one of --data-dir",
		"serve --bootstrap-expect 1 --join a:1":  "would join no other",
		"version --output yaml":                  `--output "yaml": must be table or json`,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := do(t, "", strings.Fields(line)...)
			require.Equal(t, exitUsage, f.status, f.err)
			require.Contains(t, f.err, "oncelog: ")
			require.Contains(t, f.err, says)
			require.Contains(t, f.err, "--help\" shows how it is used")
			require.Empty(t, f.out)
		})
	}
}

// updateVariable makes the tests write their golden files anew.
const updateVariable = "UPDATE_GOLDEN"

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"help":         {},
		"help-serve":   {"serve", "--help"},
		"help-cluster": {"help", "cluster"},
		"help-demo":    {"demo", "--help"},
		"help-load":    {"load", "-h"},
		"help-bench":   {"bench", "-h"},
		"help-leave":   {"leave", "-h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := good(t, "", args...)
			path := filepath.Join("testdata", name+".golden")
			if os.Getenv(updateVariable) != "" {
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
			golden, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(golden), text)
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	require.Contains(t, good(t, "", "version"), "oncelog")
	require.Contains(t, good(t, "", "version", "--output", "json"), `"go": "go1.`)
}
