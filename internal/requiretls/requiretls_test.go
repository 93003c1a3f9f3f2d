package requiretls

import "testing"

func TestReadHeader(t *testing.T) {
	for _, tc := range []struct {
		values []string
		want   HeaderWish
	}{
		{nil, HeaderAbsent},
		{[]string{"No"}, HeaderOptional},
		{[]string{" nO\r\n"}, HeaderOptional}, // ABNF strings ignore case
		{[]string{"\r\n No"}, HeaderOptional}, // FWS before the value
		{[]string{""}, HeaderMalformed},
		{[]string{"maybe"}, HeaderMalformed},
		{[]string{"No (really)"}, HeaderMalformed},
		{[]string{"No", "No"}, HeaderMalformed}, // one instance at the most
	} {
		if got := ReadHeader(tc.values); got != tc.want {
			t.Errorf("ReadHeader(%q) = %d, want %d", tc.values, got, tc.want)
		}
	}
}

func TestParseWish(t *testing.T) {
	for _, w := range []Wish{Auto, Yes, No} {
		if got, err := ParseWish(w.String()); err != nil || got != w {
			t.Errorf("ParseWish(%q) = %v, %v", w, got, err)
		}
	}
	if _, err := ParseWish("maybe"); err == nil {
		t.Error("ParseWish(maybe) succeeded")
	}
}
