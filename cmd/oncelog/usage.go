package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a command line, an environment or a file that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// atMost is the number of arguments that a command takes.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usage("%q is too much: %s takes %d arguments and otherwise flags", args[n], cmd.CommandPath(), n)
		}
		return nil
	}
}

// flagError says which flag is wrong, and what would be right.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		return usage("unknown flag %s; %s has %s", dashed(unknown.GetSpecifiedName()), cmd.CommandPath(), flagNames(cmd.Flags()))
	case errors.As(err, &bad):
		return badValue("--"+bad.GetFlag().Name, bad.GetFlag(), bad.GetValue(), bad.Unwrap())
	case errors.As(err, &missing):
		return usage("--%s: a value is required: %s", missing.GetFlag().Name, wanted(missing.GetFlag(), errNoValue))
	}
	return usageError{err}
}

var errNoValue = errors.New("see the help")

// badValue tells of a value that a flag does not take. The place is where it
// comes from: the flag itself, the environment or a file.
func badValue(place string, f *pflag.Flag, value string, cause error) error {
	return usage("%s %q: must be %s", place, value, wanted(f, cause))
}

// wanted says what a flag takes. Flags of our own types say so themselves.
func wanted(f *pflag.Flag, cause error) string {
	switch f.Value.Type() {
	case "int", "int64":
		return "a whole number"
	case "uint", "uint64":
		return "a whole number of 0 or more"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 1.5s or 2m"
	case "string":
		return "a text"
	case "stringSlice":
		return "a list such as a,b,c"
	}
	return cause.Error()
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func flagNames(flags *pflag.FlagSet) string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return strings.Join(names, ", ")
}

// choice is a flag with a few possible values.
type choice struct {
	value   *string
	allowed []string
}

func choiceVar(flags *pflag.FlagSet, value *string, name, text string, allowed ...string) {
	*value = allowed[0]
	flags.Var(&choice{value, allowed}, name, text+": "+strings.Join(allowed, ", "))
}

func (c *choice) String() string { return *c.value }

// Type is what the help shows.
func (*choice) Type() string { return "word" }

// Set takes a value if it is one of those allowed.
func (c *choice) Set(s string) error {
	for _, a := range c.allowed {
		if s == a {
			*c.value = s
			return nil
		}
	}
	return errors.New(strings.Join(c.allowed, " or "))
}

// checkAddr sees that a flag is a host:port to listen on.
func checkAddr(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return usage("--%s %q: must be host:port, such as 127.0.0.1:8080", flag, addr)
	}
	return nil
}
