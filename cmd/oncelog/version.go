package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildVersion is what the build says of this program.
type buildVersion struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Time     string `json:"time"`
	// Modified says that the sources were not quite those of the revision.
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
}

func version() buildVersion {
	v := buildVersion{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func newVersion(c *console) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show what this program was built from",
		Args:  atMost(0),
		RunE: func(*cobra.Command, []string) error {
			v := version()
			if output == outputJSON {
				return writeJSON(c.out, v)
			}
			t := newTable(c.out)
			t.AppendRow([]any{"oncelog", v.Version})
			t.AppendRow([]any{"revision", v.revisionText()})
			t.AppendRow([]any{"go", v.Go})
			t.Render()
			return nil
		},
	}
	outputVar(cmd.Flags(), &output)
	return cmd
}

func (v buildVersion) revisionText() string {
	switch {
	case v.Revision == "":
		return "unknown"
	case v.Modified:
		return v.Revision + " of " + v.Time + ", modified"
	}
	return v.Revision + " of " + v.Time
}
