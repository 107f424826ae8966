// Package duration is time.Duration as it stands in the lab's JSON: "250ms", "1.5s".
package duration

import (
	"encoding/json"
	"fmt"
	"time"
)

// D is a duration that reads and writes as text.
type D time.Duration

// Std returns the standard library's duration.
func (d D) Std() time.Duration { return time.Duration(d) }

// String returns e.g. "1.5s".
func (d D) String() string { return time.Duration(d).String() }

// Set implements flag.Value.
func (d *D) Set(text string) error {
	parsed, err := time.ParseDuration(text)
	*d = D(parsed)
	return err
}

// MarshalJSON implements json.Marshaler.
func (d D) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *D) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration must be a string such as \"250ms\": %w", err)
	}
	return d.Set(text)
}
