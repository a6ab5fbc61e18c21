// Package workertest is the conformance kit of workers: it runs a registered worker the way the worker loop
// does, with a real scratch folder, a real store on disk and whatever real programs the worker calls, and
// fails the test for everything that the contract in package workers forbids.
//
//	func TestConformance(t *testing.T) {
//		r := workers.NewRegistry()
//		workers.Add(r, "word", word.Worker{})
//		workertest.Run(t, workertest.Case{Registry: r, Worker: "word", Source: "testdata/a.mp4", Media: media})
//	}
//
// What it checks:
//
//  1. Plan is pure: the same arguments give the same jobs, and the media are not changed.
//  2. Names are valid and unique, edges resolve without a cycle.
//  3. Work returns soon, with an error, when its context has ended before and while it runs.
//  4. Work writes nothing outside its folder, and leaves the source as it was.
//  5. Every output is in the store under the attempt's token, not empty, of the size and SHA-256 that the
//     output says, with a content type, and at a path that no other output of the worker has; and nothing
//     else is there.
//  6. A second attempt under another token gives outputs at the same paths and touches none of the first.
//
// It does not judge what is in the outputs; that is the worker's own tests' part.
package workertest
