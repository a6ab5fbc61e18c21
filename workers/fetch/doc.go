// Package fetch is the worker that downloads the source of a video whose upload names a URL. An attempt
//
//  1. asks for the file, at an address that package outbound lets pass, through at most five redirects;
//  2. writes it to scratch. When the connection breaks or stalls, it asks for the rest (Range), on condition
//     that the file is still the same (If-Range with a strong ETag or date). If the file has changed, or its
//     server cannot send parts, it begins anew: parts of two files are never mixed;
//     With Config.Keep, the next attempt on this machine does the same, also after a kill of the process;
//  3. stores the file as the source of the video, under the prefix of the attempt, as an output would be. So
//     two attempts never write the same object, and one wins.
//
// What ends an attempt:
//
//	400 to 499 but for the below    input_fetch_refused: no further try
//	an address that is refused      input_fetch_refused
//	an answer in HTML               input_fetch_page
//	more bytes than allowed         input_too_large, before the first if the server says how many
//	408, 425, 429, 500 and above,   tried again here, after Retry-After if that is at most two minutes;
//	no answer, a broken connection  after five in a row without a new byte input_fetch_failed, and the queue
//	                                retries
//	slower than Config.MinRate      input_fetch_failed, likewise
//
// An error never has more of the URL than its host.
//
// Not guaranteed: that a body without Content-Length is whole when its connection is closed. Nothing says so;
// an inspection finds most files that were cut.
package fetch
