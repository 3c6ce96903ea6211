# See README.md.
. as $schema | .classes.base_event.attributes as $base
| def attributes($of): .attributes | with_entries(select((.value.profile // "") == "") | .key as $name | .value |= (
    {type, object_type, is_array, requirement: (if .requirement == "" then ($of[$name].requirement // "") else .requirement end),
     enum: (.enum // {} | keys | map(tonumber) | sort)}
    | del(.[] | select(. == "" or . == false or . == []))));
{
  version,
  classes: (.classes | with_entries(select(.key | IN("authentication", "entity_management", "api_activity", "network_activity", "ssh_activity", "detection_finding", "file_activity")) | .value |= (
    $schema.categories.attributes[.category].uid as $category
    | {caption, uid: ($category * 1000 + .uid), category_uid: $category, attributes: attributes($base)}))),
  objects: (.objects | with_entries(select(.key | IN("actor", "api", "device", "file", "fingerprint", "finding_info", "group", "managed_entity", "metadata", "network_endpoint", "object", "product", "request", "resource_details", "service", "user")) | .value |= (
    {caption, attributes: attributes({}), at_least_one: (.constraints.at_least_one // [])})))
}
