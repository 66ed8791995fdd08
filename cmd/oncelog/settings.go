package main

import (
	"fmt"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	// envPrefix begins the environment variable of a flag: ONCELOG_DATA_DIR is
	// --data-dir.
	envPrefix = "ONCELOG_"
	// noDelimiter: a setting's name has no parts.
	noDelimiter = ""
	configFlag  = "config"
)

// applySettings sets the flags that the command line has not, from the
// environment or, failing that, from the file that --config names. The flags are
// the schema: a value is read as on the command line, whatever its source.
func applySettings(flags *pflag.FlagSet) error {
	if err := refuseEmpty(flags); err != nil {
		return err
	}
	environment := koanf.New(noDelimiter)
	if err := environment.Load(env.Provider(noDelimiter, env.Opt{Prefix: envPrefix, TransformFunc: flagOfVariable}), nil); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	given := func(name string) bool { return flags.Changed(name) }
	for _, name := range environment.Keys() {
		// A variable without a flag may be meant for another command, or for
		// another program: Kubernetes makes some for every service.
		if f := flags.Lookup(name); f != nil && !given(name) {
			if err := set(f, environment.Get(name), variableOfFlag(name)); err != nil {
				return err
			}
		}
	}
	return applyFile(flags, flags.Lookup(configFlag).Value.String(), given)
}

// applyFile sets the flags that are not given from a file, if there is one. A
// setting that no flag has is an error, so that a misspelt one is noticed.
func applyFile(flags *pflag.FlagSet, path string, given func(string) bool) error {
	if path == "" {
		return nil
	}
	settings := koanf.New(noDelimiter)
	if err := settings.Load(file.Provider(path), toml.Parser()); err != nil {
		return usage("--%s %q: must be a file of settings in TOML: %w", configFlag, path, err)
	}
	for _, name := range settings.Keys() {
		f := flags.Lookup(name)
		if f == nil || name == configFlag || name == "help" {
			return usage("%s: unknown setting %q; there are the flags of serve without their dashes", path, name)
		}
		if given(name) {
			continue
		}
		if err := set(f, settings.Get(name), path+": "+name); err != nil {
			return err
		}
	}
	return nil
}

// refuseEmpty finds a flag that the command line gives without a value, most often
// by way of a variable that is not set. Its default may be far from what was meant:
// a node that is to join nobody founds a cluster of its own.
func refuseEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		if f.Value.String() == "" || isList && len(list.GetSlice()) == 0 {
			err = emptyValue("--" + f.Name)
		}
	})
	return err
}

func emptyValue(place string) error {
	return usage("%s \"\": must not be empty; leave it out for the default", place)
}

// set gives a flag its value as the command line would.
func set(f *pflag.Flag, value any, place string) error {
	text := fmt.Sprint(value)
	if list, ok := value.([]any); ok {
		parts := make([]string, len(list))
		for i, v := range list {
			parts[i] = fmt.Sprint(v)
		}
		text = strings.Join(parts, ",")
	}
	if text == "" {
		return emptyValue(place)
	}
	if err := f.Value.Set(text); err != nil {
		return badValue(place, f, text, err)
	}
	f.Changed = true
	return nil
}

func flagOfVariable(name, value string) (string, any) {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-"), value
}

func variableOfFlag(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
