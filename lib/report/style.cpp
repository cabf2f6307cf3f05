#include "lib/report/style.h"

#include "lib/report/sections.h"

namespace retort::report {

// Colours are pairs for light and dark; the six of curves differ in lightness too, and in dashes.
const char* const kPlotStyle = R"css(
:root{color-scheme:light dark;--paper:#fcfcfa;--card:#fff;--ink:#1d2125;--soft:#5a636b;--line:#d9dde0;
--accent:#1f5f99;--heat:#14507f;--s1:#1f6fb2;--s2:#c4511b;--s3:#2e7d4f;--s4:#8a4fa3;--s5:#8a6d00;--s6:#b03060}
@media (prefers-color-scheme:dark){:root{--paper:#15181b;--card:#1d2125;--ink:#e8eaec;--soft:#a4adb5;
--line:#3a4147;--accent:#7fb8ea;--heat:#8cc4f4;--s1:#6cb2ec;--s2:#f0905c;--s3:#6fc795;--s4:#c795de;--s5:#d6b84a;--s6:#ee7ea4}}
svg text{font-size:12px;fill:var(--soft)}
svg text.off,svg text.on{paint-order:stroke;stroke-width:2.5px;stroke-linejoin:round}
svg text.off{fill:var(--ink);stroke:var(--card)}svg text.on{fill:var(--card);stroke:var(--heat)}
.grid{stroke:var(--line);stroke-width:1}
.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}.s5{--c:var(--s5)}.s6{--c:var(--s6)}
.curve{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.curve.s2{stroke-dasharray:7 3}.curve.s3{stroke-dasharray:2 3}.curve.s4{stroke-dasharray:8 3 2 3}
.curve.s5{stroke-dasharray:12 4}.curve.s6{stroke-dasharray:4 2}
.curve.r1{stroke-dasharray:.1 5;stroke-linecap:round}.curve.r2{stroke-dasharray:14 3 2 3 2 3}
.curve.r3{stroke-dasharray:none;stroke-width:1}
.band{fill:var(--c);fill-opacity:.18}.mark,.bar{fill:var(--c)}
.heat{fill:var(--heat)}.ground{fill:var(--card);stroke:var(--line)}
.paper{fill:var(--paper)}
)css";

const char* const kStyle = R"css(
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
header,main,footer{max-width:78rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:0 0 .35rem}
h3{font-size:1.05rem;margin:1rem 0 .5rem;overflow-wrap:anywhere}
p{margin:.4rem 0 .8rem;max-width:46rem}
.soft,figcaption,caption,footer{color:var(--soft)}
a{color:var(--accent)}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;list-style:none;padding:0;margin:.75rem 0 0}
section{border-top:1px solid var(--line);padding:1.5rem 0 1.25rem;margin-top:1.25rem}
.sets{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1rem 2rem}
.sets>div{min-width:0;container-type:inline-size}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:.5rem 2rem;align-items:start}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.35rem}
th,td{padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{font-weight:600;color:var(--soft);white-space:nowrap}
tbody th{font-weight:500;overflow-wrap:break-word}
.number{text-align:right;white-space:nowrap}
td.name{min-width:8rem;overflow-wrap:anywhere}
figure{margin:.5rem 0 1rem;min-width:0}
figcaption{font-size:.95rem;margin-bottom:.3rem}
svg{display:block;width:100%;height:auto}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:.3rem 0;font-size:.9rem}
.key{display:inline-block;width:1.6rem;height:.3rem;border-radius:2px;background:var(--c);margin-right:.4rem;vertical-align:middle}
.key.r1,.key.r2,.key.r3{height:0;background:none;border-top:.3rem dotted var(--c)}
.key.r2{border-top-style:dashed}.key.r3{border-top:1px solid var(--c)}
details{margin:.3rem 0}summary{cursor:pointer;color:var(--accent);width:fit-content}
details .scroll{max-height:22rem;overflow:auto;margin-top:.4rem}
code,pre{font:.88rem/1.45 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow-x:auto;margin:.5rem 0}
.gap{border-left:3px solid var(--line);padding-left:.8rem;margin:.7rem 0}.gap code{display:block;overflow-wrap:anywhere;padding:.2rem 0}
.class{display:grid;grid-template-columns:7.5rem 1fr;gap:.2rem .8rem;align-items:start;padding:.35rem 0;border-bottom:1px solid var(--line)}
.class>h4{font-size:.92rem;font-weight:500;margin:.2rem 0;overflow-wrap:anywhere}
.cells{display:flex;flex-wrap:wrap;gap:.3rem;margin:0;padding:0;list-style:none;align-items:flex-start}
.cells li{display:flex;flex-direction:column;gap:.2rem;align-items:center}
.cells small{font-size:.72rem;color:var(--soft);line-height:1.2}
.pic{padding:0;border:1px solid var(--line);border-radius:3px;background:none;cursor:zoom-in;line-height:0;display:block}
.pic:hover,.pic:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.pic img{width:3.5rem;height:auto;image-rendering:pixelated;border-radius:2px}
.whole .pic img{width:100%;max-width:40rem}
.real .pic{border-style:dashed}
.real{display:flex;flex-direction:column;align-items:center}
.choice{margin-right:.4rem}.gallery:has(.choice:not(:checked)) .real{display:none}
dialog{border:1px solid var(--line);border-radius:8px;background:var(--card);color:var(--ink);padding:1rem;max-width:min(92vw,44rem)}
dialog::backdrop{background:rgb(0 0 0/.55)}
dialog img{display:block;width:min(78vw,34rem);max-height:70vh;object-fit:contain;image-rendering:pixelated}
dialog div{display:flex;gap:.5rem;justify-content:space-between}
dialog button{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:5px;padding:.35rem .9rem;cursor:pointer}
footer{border-top:1px solid var(--line);margin-top:1.5rem;padding-top:1rem;padding-bottom:2.5rem;font-size:.9rem}
@media (max-width:34rem){header,main,footer{padding-left:.9rem;padding-right:.9rem}}
@container (max-width:30rem){.class{grid-template-columns:1fr}}
@media print{.pic{cursor:auto}dialog,nav{display:none}}
)css";

// Enlarges pictures. Without '<' and '&', so that the page reads as XML too.
const char* const kScript = R"js(
(function(){
var box=document.getElementById('zoom');
if(!box||!box.showModal){return;}
var pics=Array.from(document.querySelectorAll('button.pic'));
var image=box.querySelector('img'),words=box.querySelector('p'),at=0;
function show(number){
at=(number+pics.length)%pics.length;
var source=pics[at].querySelector('img');
image.src=source.src;image.alt=source.alt;words.textContent=source.alt;
}
pics.forEach(function(pic,number){pic.addEventListener('click',function(){show(number);box.showModal();});});
box.querySelectorAll('button').forEach(function(button){button.addEventListener('click',function(){
var step=Number(button.dataset.step);
if(step===0){box.close();}else{show(at+step);}
});});
box.addEventListener('keydown',function(event){
if(event.key==='ArrowRight'){show(at+1);}
if(event.key==='ArrowLeft'){show(at-1);}
});
box.addEventListener('click',function(event){if(event.target===box){box.close();}});
box.addEventListener('close',function(){pics[at].focus();});
}());
)js";

}  // namespace retort::report
