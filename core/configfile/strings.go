package configfile

import "errors"

// Strings is a list in edge.yaml that may be written as one text when it has one element.
type Strings []string

// UnmarshalConfig accepts the short form, a text.
func (s *Strings) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("write a text or a list of texts")
	}
	*s = Strings{text}
	return nil
}
