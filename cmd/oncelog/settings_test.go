package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// settings reads serve's options from a command line and a file, which is named
// on it unless it is "".
func settings(t *testing.T, file string, args ...string) (serveOptions, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "oncelog.toml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	var o serveOptions
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.declare(flags)
	require.NoError(t, flags.Parse(args))
	return o, o.complete(flags)
}

func TestSettingsDefaults(t *testing.T) {
	o, err := settings(t, "")
	require.NoError(t, err)
	require.Equal(t, "n1", o.node.Name)
	require.Equal(t, filepath.Join("oncelog-data", "n1"), o.node.DataDir)
	require.Equal(t, "127.0.0.1:8080", o.node.HTTPAddr)
	require.Equal(t, "127.0.0.1:7000", o.node.RaftAddr)
	require.Equal(t, "127.0.0.1:7946", o.node.GossipAddr)
	require.Zero(t, o.node.BootstrapExpect, "the node decides: a cluster of one, since there is none to join")
	require.Empty(t, o.node.Join)
	require.Equal(t, "info", o.logLevel)
	require.Equal(t, logText, o.logFormat)
}

func TestSettingsPrecedence(t *testing.T) {
	const file = `
name = "file"
http-addr = "127.0.0.1:1"
raft-addr = "127.0.0.1:1"
gossip-addr = "127.0.0.1:1"
bootstrap-expect = 5
join = ["127.0.0.1:11", "127.0.0.1:12"]
log-level = "debug"
`
	t.Setenv("ONCELOG_RAFT_ADDR", "127.0.0.1:2")
	t.Setenv("ONCELOG_GOSSIP_ADDR", "127.0.0.1:2")
	t.Setenv("ONCELOG_BOOTSTRAP_EXPECT", "3")
	t.Setenv("ONCELOG_LOG_LEVEL", "warn")
	t.Setenv("ONCELOG_SERVICE_PORT", "tcp://10.0.0.1:80")
	o, err := settings(t, file, "--gossip-addr", "127.0.0.1:3", "--log-level", "info")
	require.NoError(t, err)
	require.Equal(t, "file", o.node.Name, "the file beats the default")
	require.Equal(t, filepath.Join("oncelog-data", "file"), o.node.DataDir)
	require.Equal(t, "127.0.0.1:1", o.node.HTTPAddr)
	require.Equal(t, "127.0.0.1:2", o.node.RaftAddr, "the environment beats the file")
	require.Equal(t, 3, o.node.BootstrapExpect)
	require.Equal(t, "127.0.0.1:3", o.node.GossipAddr, "the flag beats all")
	require.Equal(t, "info", o.logLevel, "also where it gives the default")
	require.Equal(t, []string{"127.0.0.1:11", "127.0.0.1:12"}, o.node.Join)
}

func TestSettingsFromTheEnvironmentOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oncelog.toml")
	require.NoError(t, os.WriteFile(path, []byte(`join = "127.0.0.1:1"`), 0o600))
	t.Setenv("ONCELOG_CONFIG", path)
	t.Setenv("ONCELOG_DATA_DIR", "/somewhere")
	o, err := settings(t, "")
	require.NoError(t, err)
	require.Equal(t, "/somewhere", o.node.DataDir)
	require.Equal(t, []string{"127.0.0.1:1"}, o.node.Join)
	t.Setenv("ONCELOG_JOIN", "127.0.0.1:2,127.0.0.1:3")
	o, err = settings(t, "")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:2", "127.0.0.1:3"}, o.node.Join)
}

func TestBadSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		variable, value string
		file            string
		says            string
	}{
		"variable":       {"ONCELOG_BOOTSTRAP_EXPECT", "three", "", `ONCELOG_BOOTSTRAP_EXPECT "three": must be a whole number`},
		"choice":         {"ONCELOG_LOG_FORMAT", "xml", "", `ONCELOG_LOG_FORMAT "xml": must be text or json`},
		"file":           {"", "", `bootstrap-expect = "x"`, `oncelog.toml: bootstrap-expect "x": must be a whole number`},
		"out of range":   {"", "", `bootstrap-expect = 9`, "--bootstrap-expect 9: must be 1 to 7"},
		"empty":          {"ONCELOG_JOIN", "", "", `ONCELOG_JOIN "": must not be empty; leave it out for the default`},
		"empty in file":  {"", "", `join = [""]`, `oncelog.toml: join "": must not be empty`},
		"misspelt":       {"", "", `data_dir = "x"`, `oncelog.toml: unknown setting "data_dir"`},
		"file in a file": {"", "", `config = "x"`, `unknown setting "config"`},
		"no TOML":        {"", "", `name: n1`, "must be a file of settings in TOML"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.variable != "" {
				t.Setenv(tc.variable, tc.value)
			}
			_, err := settings(t, tc.file)
			require.ErrorAs(t, err, new(usageError))
			require.ErrorContains(t, err, tc.says)
		})
	}
}
