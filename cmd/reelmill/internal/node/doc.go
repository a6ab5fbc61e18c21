// Package node runs a process of ReelMill. There are two roles: a Server has the API, the coordinator and the
// read model, and usually runs jobs too; a Worker runs jobs for a server elsewhere.
//
// Both share a ground (ground.go): the connection to the broker, the object store behind its guard,
// the registry of worker types, the data disk and the metrics. Open opens all parts in order and starts none;
// Run blocks until its context ends and leaves nothing running; Close closes the parts in reverse order.
//
// A build with the tag chaos injects faults between the parts (faults_chaos.go).
package node
