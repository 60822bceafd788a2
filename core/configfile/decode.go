package configfile

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// delimiter separates keys inside koanf. Keys contain dots (host names), but the reader lets no control character in.
const delimiter = "\x00"

// layers are the trees of the file and of the environment, the later over the earlier. It belongs to one Load: koanf must not
// be shared, and a reload begins anew.
type layers struct {
	k *koanf.Koanf
}

func newLayers() *layers { return &layers{koanf.New(delimiter)} }

// add lays a tree over what is there: mappings are merged, everything else is replaced.
func (l *layers) add(tree map[string]any) error {
	if len(tree) == 0 {
		return nil
	}
	return l.k.Load(confmap.Provider(tree, ""), nil)
}

func (l *layers) tree() map[string]any { return l.k.Raw() }

// decode fills the target, over the values that it has.
func (l *layers) decode(target reflect.Value) error {
	return l.k.UnmarshalWithConf("", target.Interface(), koanf.UnmarshalConf{DecoderConfig: decoderConfig(nil)})
}

// decoderConfig has no weak typing: the reader has left only values that fit.
func decoderConfig(result any) *mapstructure.DecoderConfig {
	return &mapstructure.DecoderConfig{
		Result:               result,
		TagName:              "koanf",
		ErrorUnused:          true,
		IgnoreUntaggedFields: true,
		MatchName:            func(key, field string) bool { return key == field },
		DecodeHook:           hook,
	}
}

// hook runs before each value is decoded. It prepares to, where mapstructure alone would mix new and old, and turns texts into
// the types that parse themselves.
func hook(from, to reflect.Value) (any, error) {
	if from.Type() == to.Type() && !isPlain(from) {
		return from.Interface(), nil // built by an outer call of the hook
	}
	switch {
	case to.Kind() == reflect.Pointer:
		if to.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
			setDefaults(to.Elem())
		}
	case to.Kind() == reflect.Interface:
		to.SetZero() // mapstructure would decode into the value that the interface holds
	case to.Type() == durationType:
		return parseDuration(from.String())
	case isShort(from, to):
		if err := unmarshalShort(to, from.Interface()); err != nil {
			return nil, err
		}
		return to.Interface(), nil
	case to.Kind() == reflect.Map:
		return decodeMap(from, to)
	case to.Kind() == reflect.Slice:
		return decodeList(from, to)
	}
	return from.Interface(), nil
}

// isPlain reports whether v is a mapping or list as the reader leaves it.
func isPlain(v reflect.Value) bool {
	switch v.Interface().(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// isShort is the decoder's side of reader.readShort.
func isShort(from, to reflect.Value) bool {
	switch to.Kind() {
	case reflect.Struct, reflect.Map:
		if from.Kind() == reflect.Map && isSection(to.Type()) {
			return false
		}
	case reflect.Slice:
		if from.Kind() == reflect.Slice {
			return false
		}
	}
	pointer := reflect.PointerTo(to.Type())
	return pointer.Implements(unmarshalerType) || pointer.Implements(textUnmarshalerType) && from.Kind() == reflect.String
}

// unmarshalShort hands a value to the method that reads it. A type that has both methods gets UnmarshalConfig.
func unmarshalShort(to reflect.Value, v any) error {
	switch u := to.Addr().Interface().(type) {
	case Unmarshaler:
		return u.UnmarshalConfig(v)
	case encoding.TextUnmarshaler:
		return u.UnmarshalText([]byte(fmt.Sprint(v)))
	}
	return fmt.Errorf("%w: %s", errTarget, to.Type())
}

// decodeMap returns a new map with the entries of to and, over them, those of from. An entry that to does not have begins with
// its type's defaults.
func decodeMap(from, to reflect.Value) (any, error) {
	t := to.Type()
	result := reflect.MakeMapWithSize(t, from.Len())
	for _, key := range to.MapKeys() {
		result.SetMapIndex(key, to.MapIndex(key))
	}
	for _, key := range from.MapKeys() {
		entry, name := reflect.New(t.Elem()), key.Convert(t.Key())
		if old := to.MapIndex(name); old.IsValid() {
			entry.Elem().Set(old)
		} else {
			setDefaults(entry.Elem())
		}
		if err := decodeInto(entry, from.MapIndex(key)); err != nil {
			return nil, err
		}
		result.SetMapIndex(name, entry.Elem())
	}
	to.SetZero() // so that the caller's map, which may be shared, stays as it is
	return result.Interface(), nil
}

// decodeList returns a new list, the elements of which begin with their type's defaults.
func decodeList(from, to reflect.Value) (any, error) {
	t := to.Type()
	result := reflect.MakeSlice(t, from.Len(), from.Len())
	for i := range from.Len() {
		element := reflect.New(t.Elem())
		setDefaults(element.Elem())
		if err := decodeInto(element, from.Index(i)); err != nil {
			return nil, err
		}
		result.Index(i).Set(element.Elem())
	}
	to.SetZero() // mapstructure would decode into the elements that were there
	return result.Interface(), nil
}

func decodeInto(pointer, from reflect.Value) error {
	decoder, err := mapstructure.NewDecoder(decoderConfig(pointer.Interface()))
	if err != nil {
		return err
	}
	return decoder.Decode(from.Interface())
}

func parseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	return time.ParseDuration(text)
}
