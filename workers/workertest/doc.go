// Package workertest is the conformance kit of workers. It runs a registered worker as the worker loop does,
// with a real scratch folder, a real store on disk and the real programs that the worker calls. It fails the
// test for each breach of the contract in package workers.
//
//	func TestConformance(t *testing.T) {
//		r := workertest.Registry("word", word.Worker{})
//		workertest.Run(t, workertest.Case{Registry: r, Worker: "word", Source: "testdata/a.mp4", Media: media})
//	}
//
// What it checks:
//
//  1. Plan is pure: the same arguments give the same jobs, and it does not change the media.
//  2. Names are valid and unique, and edges resolve without a cycle. Describe, if the worker has it, takes
//     every job of the plan.
//  3. Work returns soon, with an error, when its context ends, before it begins or while it runs.
//  4. Work writes nothing outside its folder, and does not change the source.
//  5. Every output is in the store under the attempt's token. It is not empty, has the size and the SHA-256
//     that it states, a content type, and a path that no other output of the worker has. The store has
//     nothing else.
//  6. A second attempt under another token has outputs at the same paths, and touches none of the first.
//
// It does not check the contents of outputs; the worker's own tests do.
package workertest
