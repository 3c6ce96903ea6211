package item

// MaxSize is the size of the largest item, names included, in bytes.
const MaxSize = 400 * 1024

// MaxDepth is how deep lists and maps may nest.
const MaxDepth = 32

// Size is what the item counts, in bytes: names and values, as capacity and limits count them.
func (i Item) Size() int {
	total := 0
	for name, v := range i {
		total += len(name) + v.Size()
	}
	return total
}

// Size is what the value counts, in bytes.
func (v Value) Size() int {
	const container, perElement = 3, 1
	switch v.Kind {
	case N:
		return numberSize(v.Text)
	case BOOL, NULL:
		return 1
	case L:
		total := container
		for _, e := range v.List {
			total += perElement + e.Size()
		}
		return total
	case M:
		return container + perElement*len(v.Map) + v.Map.Size()
	case NS:
		total := 0
		for _, e := range v.Set {
			total += numberSize(e)
		}
		return total
	case SS, BS:
		total := 0
		for _, e := range v.Set {
			total += len(e)
		}
		return total
	default:
		return len(v.Text)
	}
}

// numberSize is about a byte for two significant digits and one for the exponent, one more below zero.
func numberSize(canonical string) int {
	d := mustDecimal(canonical)
	size := (len(d.digits)+1)/2 + 1
	if d.negative {
		size++
	}
	return size
}
